-- How far the relay has come with each client. Kept for people and figures: what NATS holds is asked of NATS.
create schema relay;

create table relay.checkpoints (
  client_id  uuid        primary key,
  reached    bigint      not null,                         -- the last event that NATS is known to hold
  reached_at timestamptz not null default now(),           -- when that was learned
  diverged   bigint                                        -- set while it is stopped: where NATS holds something else
);
call pipelabs_walls.raise('relay.checkpoints');

-- It works across clients, and changes nothing but its own table.
create policy across_clients_relay on relay.checkpoints as permissive            to pipelabs_relay using (true) with check (true);
create policy across_clients_relay on es.streams        as permissive for select to pipelabs_relay using (true);
create policy across_clients_relay on es.events         as permissive for select to pipelabs_relay using (true);
create policy across_clients_relay on es.signed_heads   as permissive for select to pipelabs_relay using (true);

grant usage on schema es to pipelabs_relay;
grant usage on schema relay to pipelabs_relay, pipelabs_admin_query;
grant select on es.streams, es.events, es.signed_heads to pipelabs_relay;
grant select, insert, update on relay.checkpoints to pipelabs_relay;
grant select on relay.checkpoints to pipelabs_admin_query;
