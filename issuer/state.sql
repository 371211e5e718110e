-- What an issuer knows and what it has signed. Times are microseconds since 1970 UTC, digests and
-- statement ids are bytes. Version 3 (pragma user_version).

-- One row: who the issuer is, and how far it has followed the log.
create table issuer (
	id         integer primary key check (id = 1),
	name       text not null,    -- of its machine statement
	root       text not null,    -- pinned id of the first root; empty until it was first opened
	edge       bytea not null,   -- right edge of the log (audit.Head)
	checkpoint bytea not null,   -- of the edge, signed by the log and cosigned; empty before the first
	followed   bigint not null,  -- when that was
	signed     bigint not null,  -- latest time that anything was signed with
	forgotten  bigint not null   -- place of the last grant in the log that was not in the state when it was followed; -1: none
);

-- The statements of roster and catalog, and revocations, in the order of the log.
create table entries (
	idx        integer primary key,
	envelope   bytea not null,
	not_before bigint not null   -- see proof.Entry
);

-- Manifests of the last catalogs.
create table manifests (
	digest text primary key,
	idx    bigint not null,      -- of the catalog statement
	body   bytea not null
);

-- Where requests and approvals stand in the log: the first leaf that names them. A request is spent by
-- the first intent for it. -1: nowhere yet.
create table places (
	statement bytea primary key,
	idx       bigint not null,
	spent     bigint not null,  -- place of that intent
	body      bytea not null    -- hash of the body of its leaf
) without rowid;

-- What was given, by the place of its intent: its request is spent there. Rows go a day after the end of
-- their grant.
create table grants (
	spent       integer primary key,
	request     bytea not null,
	intent      bytea not null,
	id          text not null unique,
	statement   bytea not null,
	envelope    bytea not null,
	certificate bytea not null,
	ends        bigint not null,
	keys        text not null    -- that it rests on, see restsOn
);
create index grants_by_end on grants (ends);

-- Revocations that came directly.
create table heard (
	statement bytea primary key,
	envelope  bytea not null
);
