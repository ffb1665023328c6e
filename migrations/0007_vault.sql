-- What clients gave us to act for them: exchange keys, sealed. Nothing here is readable without ENCRYPTION_KEY.
create schema vault;

-- A client's own key, wrapped by the key of ENCRYPTION_KEY whose kek_id it carries.
create table vault.data_keys (
  client_id uuid             primary key,
  kek_id    text collate "C" not null,
  wrapped   text             not null,                     -- Fernet, of the client's id and 32 random bytes
  made_at   timestamptz      not null default now()
);

-- Sets of values of credentials, each sealed under its client's data key.
create table vault.credentials (
  client_id     uuid        not null,
  credential_id uuid        not null,
  sealed_id     uuid        not null,
  ciphertext    text        not null,                      -- Fernet, of the secrets and all that they belong to
  claimed       boolean     not null default false,        -- an event is known to tell of it
  sealed_at     timestamptz not null default now(),
  primary key (client_id, credential_id, sealed_id)
);

-- A known text sealed under each key of ENCRYPTION_KEY that is in use: a wrong key is found when a process starts.
create table vault.canaries (
  kek_id  text collate "C" primary key,
  sealed  text             not null,
  made_at timestamptz      not null default now()
);

-- Nobody but the login of the vault sees a row, the owner of the tables included.
alter table vault.data_keys   enable row level security;
alter table vault.data_keys   force  row level security;
alter table vault.credentials enable row level security;
alter table vault.credentials force  row level security;
alter table vault.canaries    enable row level security;
alter table vault.canaries    force  row level security;
create policy across_clients_vault on vault.data_keys   to pipelabs_vault using (true) with check (true);
create policy across_clients_vault on vault.credentials to pipelabs_vault using (true) with check (true);
create policy vault_only           on vault.canaries    to pipelabs_vault using (true) with check (true);

grant usage on schema vault to pipelabs_vault;
grant select, insert, update, delete on vault.data_keys, vault.credentials, vault.canaries to pipelabs_vault;

-- Set when the user's client has left.
alter table auth.users add column barred_at timestamptz;
