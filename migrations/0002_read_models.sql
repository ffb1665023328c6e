-- Where the read models stand. Their tables are made by the code that folds them, one schema a projection and version.
create schema rm;

-- Which version of a projection answers queries. Switching to a rebuilt one is this one row.
create table rm.versions (
  projection text collate "C" primary key,
  live       integer not null,
  newest     integer not null,                             -- the highest number ever given out
  shape      text    not null                              -- of the tables and the fold that filled the live one
);

-- How far a projection has read a client's stream. The row's lock is the lease.
create table rm.checkpoints (
  client_id  uuid             not null,
  projection text collate "C" not null,
  version    integer          not null,
  reached    bigint           not null default 0,
  reached_at timestamptz      not null default 'epoch',    -- recorded_at of the event that was reached
  parked_at  timestamptz,                                  -- set when it gave up: a person has to retry or skip
  trouble    text,                                         -- why
  decisions  bigint           not null default 0,          -- how many retries and skips of it were known then
  primary key (client_id, projection, version)
);
create index checkpoints_of_projection on rm.checkpoints (projection, version);

-- Tries at the next event, counted before each in a transaction of its own, so that a crash counts.
create table rm.attempts (
  client_id  uuid             not null,
  projection text collate "C" not null,
  version    integer          not null,
  seq        bigint           not null,
  attempts   integer          not null,
  trouble    text,
  primary key (client_id, projection, version)
);

call pipelabs_walls.raise('rm.checkpoints');
call pipelabs_walls.raise('rm.attempts');
grant usage on schema rm to pipelabs_projector, pipelabs_query, pipelabs_admin_query;
grant select, insert, update, delete on rm.checkpoints, rm.attempts, rm.versions to pipelabs_projector;
grant select on rm.checkpoints, rm.versions to pipelabs_query, pipelabs_admin_query;
