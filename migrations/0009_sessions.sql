-- Who is logged in, and what makes a token count no more before its time is over.

-- Rises with every change of what a user may do or proves itself with; tokens carry the one that they were made under.
alter table auth.users add column perm_ver bigint not null default 1;

-- One row a login. Address and program are personal data: they stand here and in no event.
create table auth.sessions (
  session_id   uuid        primary key,
  user_id      uuid        not null references auth.users on delete cascade,
  made_at      timestamptz not null,
  last_seen_at timestamptz not null,
  ends_at      timestamptz not null,                       -- however often it is refreshed
  address      text        not null,
  agent        text        not null,
  auth_time    timestamptz not null,                       -- when its user last proved who it is
  amr          text[]      not null,                       -- by what: pwd, otp, recovery
  revoked_at   timestamptz
);
create index sessions_user on auth.sessions (user_id);

-- Each is good once. Used ones are kept, so that one that comes again is known.
create table auth.refresh_tokens (
  hash       bytea       primary key,                      -- SHA-256: nothing here lets anybody in
  session_id uuid        not null references auth.sessions on delete cascade,
  made_at    timestamptz not null,
  expires_at timestamptz not null,
  used_at    timestamptz
);
create index refresh_tokens_session on auth.refresh_tokens (session_id);

-- Events of the desk that were committed with a change here and wait to be put into its stream, in this order.
create table auth.untold (
  place       bigint generated always as identity primary key,
  event_key   uuid   not null,                             -- put there twice, it stands there once
  about       uuid   not null,                             -- the user
  event       text   not null,
  actor       text   not null,
  correlation uuid   not null
);

-- What makes tokens count no more that are out already. Numbered in the order of their commits, so that whoever has read
-- up to one number has missed nothing before it.
create table auth.revocations (
  seq        bigint      primary key,
  at         timestamptz not null default clock_timestamp(),
  user_id    uuid        not null,
  session_id uuid,                                         -- this session has ended,
  perm_ver   bigint                                        -- or else: what was made under an earlier version counts no more
);
create table auth.revocations_head (
  seq bigint not null
);
insert into auth.revocations_head values (0);

-- The head's row stays locked to the commit: numbers are given in the order in which they can be read.
create function auth.revoke(of_user uuid, of_session uuid, below bigint) returns void language plpgsql as $$
declare
  next bigint;
begin
  update auth.revocations_head set seq = seq + 1 returning seq into strict next;
  insert into auth.revocations (seq, user_id, session_id, perm_ver) values (next, of_user, of_session, below);
end $$;

-- Triggers, so that a change counts by whatever way it comes, somebody's hand in the database included.
create function auth.user_changes() returns trigger language plpgsql as $$
begin
  if (new.role, new.client_id, new.barred_at) is distinct from (old.role, old.client_id, old.barred_at) then
    new.perm_ver := greatest(new.perm_ver, old.perm_ver + 1);
  end if;
  return new;
end $$;
create function auth.user_changed() returns trigger language plpgsql as $$
begin
  perform auth.revoke(new.user_id, null, new.perm_ver);
  return null;
end $$;
create function auth.user_gone() returns trigger language plpgsql as $$
begin
  perform auth.revoke(old.user_id, null, 9223372036854775807);
  return null;
end $$;
create function auth.session_ended() returns trigger language plpgsql as $$
begin
  perform auth.revoke(new.user_id, new.session_id, null);
  return null;
end $$;
create trigger changes before update on auth.users for each row execute function auth.user_changes();
create trigger changed after update on auth.users for each row
  when (new.perm_ver <> old.perm_ver) execute function auth.user_changed();
create trigger gone after delete on auth.users for each row execute function auth.user_gone();
create trigger ended after update on auth.sessions for each row
  when (old.revoked_at is null and new.revoked_at is not null) execute function auth.session_ended();

-- Nobody but the login that lets people in sees a row, the owner of the tables included.
alter table auth.sessions         enable row level security;
alter table auth.sessions         force  row level security;
alter table auth.refresh_tokens   enable row level security;
alter table auth.refresh_tokens   force  row level security;
alter table auth.untold           enable row level security;
alter table auth.untold           force  row level security;
alter table auth.revocations      enable row level security;
alter table auth.revocations      force  row level security;
alter table auth.revocations_head enable row level security;
alter table auth.revocations_head force  row level security;
create policy logins_only on auth.sessions         to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.refresh_tokens   to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.untold           to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.revocations      to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.revocations_head to pipelabs_auth using (true) with check (true);

revoke all on function auth.revoke from public;
grant execute on function auth.revoke to pipelabs_auth;
grant select, insert, update, delete on auth.sessions, auth.refresh_tokens to pipelabs_auth;
grant select, insert, delete on auth.revocations to pipelabs_auth;
-- A row that is locked to be told needs the right to update one.
grant select, insert, update, delete on auth.untold to pipelabs_auth;
grant select, update on auth.revocations_head to pipelabs_auth;
