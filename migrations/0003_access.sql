-- Who may log in. Personal data and password hashes stand here and in no event.
create schema auth;

create table auth.users (
  user_id       uuid        primary key,
  email         text        not null,
  password_hash text        not null,                      -- argon2id, PHC string
  role          text        not null,
  client_id     uuid,
  created_at    timestamptz not null
);
create unique index users_email on auth.users (lower(email));

-- Nobody but the login that checks passwords sees a row, the owner of the table included.
alter table auth.users enable row level security;
alter table auth.users force row level security;
create policy logins_only on auth.users to pipelabs_auth using (true) with check (true);

grant usage on schema auth to pipelabs_auth;
grant select, insert, update on auth.users to pipelabs_auth;
