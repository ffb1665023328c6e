-- How people come in and stay in: one-time links, second factors, tokens of programs, what auditors were granted; and who
-- looked at which client.

-- Somebody invited has no password yet; a program's account never has one, and no address either.
alter table auth.users alter column email drop not null;
alter table auth.users alter column password_hash drop not null;
alter table auth.users add column name text;               -- what a program's account is called
alter table auth.users add column barred_by uuid;          -- absent where the platform did it by itself
alter table auth.users add constraint users_are_people_or_programs
  check (role = 'service' and name is not null or email is not null);

-- A link lets somebody choose a password, once.
create table auth.links (
  hash       bytea       primary key,                      -- SHA-256: nothing here lets anybody in
  user_id    uuid        not null references auth.users on delete cascade,
  made_at    timestamptz not null,
  expires_at timestamptz not null,
  used_at    timestamptz
);
create index links_user on auth.links (user_id);

-- What shows its user the codes that change every half minute. It counts from when its user has shown one.
create table auth.second_factors (
  user_id      uuid        primary key references auth.users on delete cascade,
  seed         text        not null,                       -- sealed; the user's id stands inside
  made_at      timestamptz not null,
  confirmed_at timestamptz,
  last_step    bigint      not null default 0,             -- a code is good once: only a later one counts
  failures     int         not null default 0,             -- since one was good
  failed_at    timestamptz
);
create table auth.recovery_codes (
  user_id uuid        not null references auth.users on delete cascade,
  hash    bytea       not null,
  used_at timestamptz,
  primary key (user_id, hash)
);

-- Whoever showed the right password has minutes and some tries to show a code.
create table auth.tickets (
  hash       bytea       primary key,
  user_id    uuid        not null references auth.users on delete cascade,
  perm_ver   bigint      not null,
  expires_at timestamptz not null,
  tries      int         not null default 0
);

-- What a person made for a program, or an admin for a program of the desk or of a client.
create table auth.access_tokens (
  token_id   uuid        primary key,
  user_id    uuid        not null references auth.users on delete cascade,
  hash       bytea       not null,
  name       text        not null,
  scopes     text[]      not null,
  made_at    timestamptz not null,
  expires_at timestamptz not null,
  seen_at    timestamptz,
  revoked_at timestamptz
);
create index access_tokens_user on auth.access_tokens (user_id);

-- Which clients an auditor may read, and how long. Slugs belong to their clients for ever.
create table auth.grants (
  user_id   uuid        not null references auth.users on delete cascade,
  client_id uuid        not null,
  slug      text        not null,
  made_at   timestamptz not null,
  until     timestamptz not null,
  primary key (user_id, client_id)
);

-- Who of the desk looked at what of which client, once an hour. The reserved client stands for all of them at once.
create table auth.looks (
  place     bigint      generated always as identity,      -- where a page of them ends
  client_id uuid        not null,
  hour      timestamptz not null,
  user_id   uuid        not null,
  route     text        not null,
  at        timestamptz not null,
  primary key (client_id, hour, user_id, route)
);
create index looks_place on auth.looks (place);

-- A token that is revoked is told as a session that has ended is; a grant that changed names neither: grants are read again.
create function auth.token_revoked() returns trigger language plpgsql as $$
begin
  perform auth.revoke(new.user_id, new.token_id, null);
  return null;
end $$;
create function auth.grant_changed() returns trigger language plpgsql as $$
begin
  perform auth.revoke(coalesce(new.user_id, old.user_id), null, null);
  return null;
end $$;
create trigger revoked after update on auth.access_tokens for each row
  when (old.revoked_at is null and new.revoked_at is not null) execute function auth.token_revoked();
create trigger changed after insert or update or delete on auth.grants for each row execute function auth.grant_changed();
revoke all on function auth.token_revoked, auth.grant_changed from public;

-- Nobody but the login that lets people in sees a row. Where it has said on whose behalf it asks, it sees that client's
-- alone: a condition that was forgotten in a query about a client's own users finds nothing of another.
alter table auth.links          enable row level security;
alter table auth.links          force  row level security;
alter table auth.second_factors enable row level security;
alter table auth.second_factors force  row level security;
alter table auth.recovery_codes enable row level security;
alter table auth.recovery_codes force  row level security;
alter table auth.tickets        enable row level security;
alter table auth.tickets        force  row level security;
alter table auth.access_tokens  enable row level security;
alter table auth.access_tokens  force  row level security;
alter table auth.grants         enable row level security;
alter table auth.grants         force  row level security;
alter table auth.looks          enable row level security;
alter table auth.looks          force  row level security;
create policy logins_only on auth.links          to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.second_factors to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.recovery_codes to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.tickets        to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.access_tokens  to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.grants         to pipelabs_auth using (true) with check (true);
create policy logins_only on auth.looks          to pipelabs_auth using (true) with check (true);

create function auth.is_asked_for(client uuid) returns boolean language sql stable as $$
  select nullif(current_setting('app.client_id', true), '') is null
      or client = nullif(current_setting('app.client_id', true), '')::uuid
$$;
revoke all on function auth.is_asked_for from public;
grant execute on function auth.is_asked_for to pipelabs_auth;
create policy of_one_client on auth.users as restrictive to pipelabs_auth
  using (auth.is_asked_for(client_id)) with check (auth.is_asked_for(client_id));
-- Whoever looked at all of them at once looked at this one, too.
create policy of_one_client on auth.looks as restrictive to pipelabs_auth
  using (auth.is_asked_for(client_id) or client_id = '00000000-0000-0000-0000-000000000000')
  with check (auth.is_asked_for(client_id));

grant select, insert, update, delete on auth.links, auth.second_factors, auth.recovery_codes, auth.tickets,
  auth.access_tokens, auth.grants to pipelabs_auth;
grant select, insert, delete on auth.looks to pipelabs_auth;
