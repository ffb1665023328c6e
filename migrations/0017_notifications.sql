-- How people are told of alerts: where a channel leads, and what is on its way there.

-- URLs, tokens, addresses of channels, each sealed under its client's data key.
create table vault.targets (
  client_id  uuid        not null,
  channel_id uuid        not null,
  sealed_id  uuid        not null,
  ciphertext text        not null,                         -- Fernet, of the text and all that it belongs to
  sealed_at  timestamptz not null default now(),
  primary key (client_id, channel_id, sealed_id)
);
alter table vault.targets enable row level security;
alter table vault.targets force  row level security;
create policy across_clients_vault on vault.targets to pipelabs_vault using (true) with check (true);
grant select, insert, update, delete on vault.targets to pipelabs_vault;

-- Messages to people. One is made before it is sent for the first time, and is the same each time it is tried.
create table alerts.messages (
  client_id   uuid        not null,
  message_id  uuid        not null,
  channel_id  uuid        not null,
  said        jsonb       not null,                        -- what it tells
  made_at     timestamptz not null default now(),
  attempts    int         not null default 0,              -- that were begun
  due_at      timestamptz not null default now(),          -- when it is tried next
  taken_until timestamptz not null default 'epoch',        -- somebody is at it
  over        boolean     not null default false,          -- it was taken, or is tried no more
  primary key (client_id, message_id)
);
call pipelabs_walls.raise('alerts.messages');
create policy across_clients_alerts on alerts.messages as permissive to pipelabs_alerts using (true) with check (true);
create index messages_due on alerts.messages (client_id, due_at, taken_until) where not over;

-- What was put into a message: nothing is told twice by one channel.
create table alerts.told (
  client_id  uuid        not null,
  channel_id uuid        not null,
  alert_id   uuid        not null,                         -- of a test or a report: the channel or the schedule
  episode    bigint      not null,
  notice     text        not null,                         -- fired, escalated:<seq>, reminder:<n>, resolved, …
  rule       text        not null,
  told_at    timestamptz not null default now(),
  message_id uuid        not null,
  primary key (client_id, channel_id, alert_id, episode, notice)
);
call pipelabs_walls.raise('alerts.told');
create policy across_clients_alerts on alerts.told as permissive to pipelabs_alerts using (true) with check (true);

grant select, insert, update on alerts.messages to pipelabs_alerts;
grant select, insert on alerts.told to pipelabs_alerts;
