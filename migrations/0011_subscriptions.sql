-- What the relay needs of subscriptions: to find their events among all others, and how far each subscriber has come.

-- Small: it holds the events of subscriptions alone, and no other insert touches it.
create index events_subscriptions on es.events (client_id, client_seq)
 where aggregate_type = 'subscription';

-- Noted now and then. A consumer that NATS lost goes on from here.
create table relay.consumers (
  client_id       uuid        not null,
  subscription_id uuid        not null,
  asked           bigint      not null,                    -- the event that asked for it: one asked for again begins anew
  acknowledged    bigint      not null,                    -- all that it was to deliver up to this event was acknowledged
  looked_at       timestamptz not null default now(),      -- when NATS was looked at
  primary key (client_id, subscription_id)
);
call pipelabs_walls.raise('relay.consumers');
create policy across_clients_relay on relay.consumers as permissive to pipelabs_relay using (true) with check (true);

grant usage on schema relay to pipelabs_query;
grant select, insert, update, delete on relay.consumers to pipelabs_relay;
grant select on relay.consumers to pipelabs_query, pipelabs_admin_query;
