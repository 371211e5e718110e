package crash_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the issuer's state is looked at from outside

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// outcome is what must have become of a request, whatever crashed.
type outcome struct {
	state brevet.RequestState
	by    brevet.PersonID // who agreed, if somebody had to
}

// remembered checks that the log holds and extends what was seen of it, and has everything once that
// was answered.
func (l *life) remembered() ledger {
	l.t.Helper()
	log := l.readLog()
	for _, id := range l.told {
		n := 0
		for _, leaf := range log.leaves {
			if leaf.GetSubject() == string(id) && len(leaf.GetStatement()) > 0 && leaf.GetKind() != string(statement.KindIntent) {
				n++
			}
		}
		if n != 1 {
			l.t.Fatalf("the statement %s was answered, and stands %d times in the log", id, n)
		}
	}
	return log
}

// examine looks at everything once it is quiet, over the API, then in the issuer's own state.
func (l *life) examine(want map[request]outcome) {
	l.t.Helper()
	log := l.remembered()
	serials := map[string]bool{}
	for r, o := range want {
		l.examineRequest(log, r, o)
		if o.state == brevet.Granted {
			serials[l.examineGrant(log, r)] = true
		} else if n := len(log.about(string(statement.KindIntent), string(r.statement))); n > 0 {
			l.t.Errorf("%s is %s and has %d intents", r.id, o.state, n)
		}
	}
	if granted := log.of(string(statement.KindGrant)); len(granted) != len(serials) {
		l.t.Errorf("%d grants were issued, with %d serial numbers", len(granted), len(serials))
	}
	for _, started := range log.of("session.started") {
		log.once("session.ended", started.GetSubject())
	}
	for _, kind := range []string{"issuer.refused", "log.mismatch", "job.failed", "request.refused"} {
		if told := log.of(kind); len(told) > 0 && kind != "request.refused" {
			l.t.Errorf("%s: %s", kind, told[0].GetRecord())
		}
	}
	l.server.end(syscall.SIGTERM)
	if l.server.killed(l.t) {
		l.t.Error("the server was killed when it had been asked to stop")
	}
	l.examineIssuer(log)
}

// examineRequest compares the row of a request with what must have become of it.
func (l *life) examineRequest(log ledger, r request, want outcome) {
	l.t.Helper()
	log.once(string(statement.KindRequest), string(r.statement))
	var got *pb.GetRequestResponse
	l.look("alice", func(ctx context.Context, v *visit) (err error) {
		got, err = v.requests.GetRequest(ctx, &pb.GetRequestRequest{Id: string(r.id)})
		return err
	})
	if got.GetRequest().GetState() != string(want.state) {
		l.t.Errorf("%s is %s, want %s", r.id, got.GetRequest().GetState(), want.state)
	}
	switch {
	case want.state == brevet.Cancelled:
		log.once("request.cancelled", string(r.id))
	case want.by != "": // what nobody need agree to is written with its intent
		log.once("request.ready", string(r.id))
	}
	yeses := got.GetRequest().GetApprovals()
	yeses = slices.DeleteFunc(yeses, func(a *pb.Approval) bool { return !a.GetAgreed() })
	if want.by == "" && len(yeses) != 0 || want.by != "" && (len(yeses) != 1 || yeses[0].GetBy() != string(want.by)) {
		l.t.Errorf("%s has the yeses %v, want one of %q", r.id, yeses, want.by)
	}
}

// examineGrant checks that the one grant of a request was intended first, gives what was asked for and
// no more, can be proven, and is over. It returns its certificate's serial number.
func (l *life) examineGrant(log ledger, r request) string {
	l.t.Helper()
	id := string(r.id.Grant())
	intended := log.once(string(statement.KindIntent), string(r.statement))
	asked := log.once(string(statement.KindRequest), string(r.statement))
	ending, confirmed, ended := log.once("grant.ending", id), log.once("grant.confirmed", id), log.once("grant.ended", id)
	var proved *pb.ExportGrantResponse
	l.look("alice", func(ctx context.Context, v *visit) (err error) {
		proved, err = v.grants.ExportGrant(ctx, &pb.ExportGrantRequest{Id: id})
		return err
	})
	b, err := proof.Parse(proved.GetBundle())
	must(l.t, err)
	report, err := proof.Check(b, proof.Trust{Root: l.root}, time.Now())
	must(l.t, err)
	g := report.Grant
	if given := b.Grant.Index; asked > intended || intended > given || given > ending || ending > confirmed || confirmed > ended {
		l.t.Errorf("%s: asked at %d, intended %d, given %d, ending %d, confirmed %d, ended %d of the log", id, asked, intended, given, ending, confirmed, ended)
	}
	terms := l.terms(r.role, r.duration)
	if g.Request != r.statement || g.Duration > terms.Duration || !slices.Equal(g.Targets, terms.Targets) || !slices.Equal(g.Logins, terms.Logins) ||
		time.UnixMicro(g.To).Sub(time.UnixMicro(g.From)) > terms.Duration.Duration() {
		l.t.Errorf("%s gives %+v, asked for was %+v", id, g.Terms, terms)
	}
	for _, leaf := range log.of(string(statement.KindGrant)) {
		if other := open[statement.Grant](log, leaf); other.ID == g.ID && leaf.GetIndex() != b.Grant.Index {
			l.t.Errorf("%s was given twice", id)
		}
	}
	return g.Serial
}

// examineIssuer compares the issuer's own state with the log: it has signed what stands there and
// nothing else.
func (l *life) examineIssuer(log ledger) {
	l.t.Helper()
	logged := map[string][]byte{} // by request
	for _, leaf := range log.of(string(statement.KindGrant)) {
		logged[string(open[statement.Grant](log, leaf).Request)] = leaf.GetStatement()
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(l.dir, "issuer", "state.db")+"?mode=ro")
	must(l.t, err)
	defer db.Close()
	rows, err := db.QueryContext(l.t.Context(), "select request, envelope from grants")
	must(l.t, err)
	defer rows.Close()
	signed := 0
	for rows.Next() {
		var request, envelope []byte
		must(l.t, rows.Scan(&request, &envelope))
		if !bytes.Equal(logged[hex.EncodeToString(request)], envelope) {
			l.t.Errorf("the issuer has given %s, and the log has %s", envelope, logged[hex.EncodeToString(request)])
		}
		signed++
	}
	must(l.t, rows.Err())
	var spent int
	must(l.t, db.QueryRowContext(l.t.Context(), "select count(*) from places where spent <> -1").Scan(&spent))
	if intents := len(log.of(string(statement.KindIntent))); signed != len(logged) || spent != intents {
		l.t.Errorf("the issuer knows %d grants of %d, and %d spent requests of %d", signed, len(logged), spent, intents)
	}
}
