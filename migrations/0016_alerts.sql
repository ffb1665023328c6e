-- What role alerts needs: where its engines stand with each client, so that a stream is not read from its begin each time.
create schema alerts;

-- Thrown away and read again from the events at any time: the events tell what came of it.
create table alerts.engines (
  client_id uuid        primary key,
  token     bigint      not null,                          -- of the lease: who held it before keeps nothing any more
  reached   bigint      not null,                          -- the last event that is in the state
  shape     text        not null,                          -- of the build that wrote it: another one reads the stream again
  state     bytea       not null,
  saved_at  timestamptz not null default now()
);
call pipelabs_walls.raise('alerts.engines');
create policy across_clients_alerts on alerts.engines as permissive            to pipelabs_alerts using (true) with check (true);
create policy across_clients_alerts on es.streams     as permissive for select to pipelabs_alerts using (true);
create policy across_clients_alerts on es.events      as permissive for select to pipelabs_alerts using (true);

grant usage on schema es to pipelabs_alerts;
grant usage on schema alerts to pipelabs_alerts;
grant select on es.streams, es.events to pipelabs_alerts;
grant select, insert, update on alerts.engines to pipelabs_alerts;

-- Few beside all others, and looked for by kind in the order of the stream.
create index events_alerts on es.events (client_id, client_seq)
 where aggregate_type = 'alert';

-- Until when somebody holds a lease, or held it; 1970, if it was given back: whether a kind of work goes on at all.
create function es.lease_ends(of_client uuid, of_name text)
  returns timestamptz language sql stable security definer
  set search_path = es, pg_temp
as $$
  select greatest(l.expires_at, 'epoch') from es.leases l where (l.client_id, l.name) = (of_client, of_name)
$$;
revoke all on function es.lease_ends from public;
grant execute on function es.lease_ends to pipelabs_writer;
