-- Types are those that both databases know: text, bigint, boolean, bytea. Times are
-- microseconds since 1970 UTC, 0 for "not yet"; lists and records are JSON in text. No column
-- may be null but those that erasure empties: a null must never pass for "no end".
-- "by its key" is for SQLite, see dialect.schema: such a table is one tree, in the order of its key.
-- Conditions of indexes list nothing: for a list SQLite makes a table of its own with each row that is written.

-- The audit log. One row an event, in order and without a gap.
create table events (
	idx        bigint primary key,
	id         text   not null,
	kind       text   not null,
	subject    text   not null,
	at         bigint not null,
	actor      text   not null,
	about      text   not null,
	request_id text   not null,
	grant_id   text   not null,
	session_id text   not null,
	body_hash  bytea  not null,
	hashes     bytea  not null, -- those of the tree that this leaf completes, its own first
	salt       bytea,           -- erased with the body
	body       text,
	statement  bytea            -- empty once erased, null if the event is none
);
-- What is said all the time, of every request that leads to a grant, is found by its request or by
-- walking back; the order of the log is that of time.
create index events_kind    on events (kind, idx)       where kind <> 'request' and kind <> 'intent' and kind <> 'grant';
create index events_actor   on events (actor, idx)      where kind <> 'request' and kind <> 'intent' and kind <> 'grant';
create index events_about   on events (about, idx)      where about <> '' and about <> actor and request_id = '';
create index events_request on events (request_id, idx) where request_id <> '';
create index events_session on events (session_id, idx) where session_id <> '';
-- A statement is said once. Those of a request that leads to a grant come with the row that they make or
-- change, once; an intent's subject is its request, which the first one spends.
create unique index events_statement on events (subject, kind) where statement is not null and kind <> 'request' and kind <> 'intent' and kind <> 'grant';

-- The one row that all changes meet at: the tree's right edge and the newest signed checkpoint.
create table heads (
	id         bigint primary key,
	edge       bytea  not null,
	at         bigint not null,
	checkpoint bytea  not null
);

-- A new state is one insert.
create table request_states (name text primary key);
insert into request_states (name) values
	('asked'), ('waiting'), ('ready'), ('granted'), ('refused'), ('cancelled'), ('lapsed');

create table requests (
	id        text    primary key,
	statement text    not null,
	state     text    not null references request_states (name),
	person    text    not null,
	role      text    not null,
	targets   text    not null,
	logins    text    not null,
	duration  bigint  not null,
	reason    text    not null,
	ticket    text    not null,
	holder    text    not null,
	via       text    not null,
	key       text    not null,
	at        bigint  not null,
	deadline  bigint  not null,
	claimed   text    not null,
	decision  text    not null,
	why       text    not null,
	version   bigint  not null
); -- by its key
create index requests_due    on requests (state, deadline) where (state = 'asked' or state = 'waiting' or state = 'ready');
create index requests_person on requests (person, id);
-- A request is answered by its statement. Those that were granted as they were made are never answered.
create unique index requests_statement on requests (statement) where (version > 1 or state <> 'granted');
create index requests_open   on requests (person) where (state = 'asked' or state = 'waiting' or state = 'ready');

-- Which groups a waiting request waits for.
create table request_stages (
	request_id text   not null references requests (id),
	stage      bigint not null,
	group_name text   not null,
	count      bigint not null,
	primary key (request_id, stage)
); -- by its key
create index request_stages_group on request_stages (group_name, request_id);

create table approvals (
	statement  text    primary key,
	request_id text    not null references requests (id),
	person     text    not null,
	stage      bigint  not null,
	agreed     boolean not null,
	duration   bigint  not null,
	comment    text    not null,
	presence   text    not null,
	key        text    not null,
	at         bigint  not null
); -- by its key
create unique index approvals_once on approvals (request_id, person, stage);

create table grant_states (name text primary key);
insert into grant_states (name) values ('issuing'), ('live'), ('ending'), ('ended');

create table grants (
	id         text   primary key, -- that of the request, but for the prefix: there is one at most
	request_id text   not null references requests (id),
	statement  text   not null,
	intent     text   not null,
	state      text   not null references grant_states (name),
	person     text   not null,
	role       text   not null,
	targets    text   not null,
	logins     text   not null,
	holder     text   not null,
	starts     bigint not null,
	ends       bigint not null,
	ended_at   bigint not null,
	ended_by   text   not null,
	end_reason text   not null,
	closed_at  bigint not null,
	version    bigint not null,
	-- What its holder uses, from when it is given until it is over; a kind '' is none.
	credential_kind   text   not null,
	credential_serial text   not null,
	credential        bytea  not null,
	credential_ends   bigint not null
); -- by its key
create index grants_due    on grants (state, ends) where state <> 'ended';
create index grants_person on grants (person, id);

create table grant_confirmations (
	grant_id     text   not null references grants (id),
	machine      text   not null,
	confirmed_at bigint not null,
	primary key (grant_id, machine)
); -- by its key

create table sessions (
	id         text    primary key,
	grant_id   text    not null references grants (id),
	person     text    not null,
	target     text    not null,
	login      text    not null,
	machine    text    not null,
	source     text    not null,
	kind       text    not null,
	command    text    not null,
	recorded   boolean not null,
	started_at bigint  not null,
	ended_at   bigint  not null,
	end_reason text    not null,
	chunks     bigint  not null,
	bytes      bigint  not null,
	root       text    not null,
	complete   boolean not null
); -- by its key
create index sessions_grant  on sessions (grant_id, id);
create index sessions_person on sessions (person, id);
create index sessions_live   on sessions (machine, id) where ended_at = 0;

-- The bytes of a chunk are a file; the row makes it known, and that it is this one.
create table chunks (
	session_id text   not null references sessions (id),
	number     bigint not null,
	sha256     text   not null,
	size       bigint not null,
	primary key (session_id, number)
); -- by its key

create table manifests (
	digest text  primary key,
	bytes  bytea not null
);

create table invitations (
	code        text   primary key, -- SHA-256 of the one-time code
	person      text   not null,
	kind        text   not null,
	owner       text   not null,
	uses        text   not null,
	groups      text   not null,
	created_by  text   not null,
	created_at  bigint not null,
	expires_at  bigint not null,
	attempts    bigint not null,
	key         text   not null,
	possession  text   not null,
	answered_at bigint not null,
	closed_at   bigint not null,
	statement   text   not null
); -- by its key
create index invitations_open on invitations (created_at, code) where closed_at = 0;

create table tokens (
	hash       text   primary key,
	person     text   not null,
	key        text   not null,
	client     text   not null,
	issued_at  bigint not null,
	expires_at bigint not null,
	revoked_at bigint not null
); -- by its key
create index tokens_person  on tokens (person, expires_at);
create index tokens_expired on tokens (expires_at);

-- From here on what Work reaches: no nouns, no events.
create table attempts (
	name    text   primary key,
	since   bigint not null,
	count   bigint not null
); -- by its key
create index attempts_since on attempts (since);

create table machines_seen (
	machine  text   primary key,
	instance text   not null,
	version  text   not null,
	address  text   not null,
	sessions bigint not null,
	seen_at  bigint not null
); -- by its key

create table jobs (
	id          text   primary key,
	kind        text   not null,
	subject     text   not null,
	due_at      bigint not null,
	asked       bigint not null, -- how often it was enqueued while open
	attempts    bigint not null,
	claimed_by  text   not null,
	epoch       bigint not null, -- grows with every claim: an older one may write no more
	lease_until bigint not null,
	last_error  text   not null,
	done_at     bigint not null
); -- by its key
create unique index jobs_open on jobs (kind, subject) where done_at = 0;
create index jobs_due  on jobs (due_at) where done_at = 0;
create index jobs_done on jobs (done_at) where done_at <> 0;
