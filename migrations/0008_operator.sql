-- What the desk's hands need: who may act for a client now, and what came in that belongs to nobody for sure.

-- One row a client and kind of work. Whoever holds it acts; the token rises with each new holder, and what an old holder
-- still sends with his token is refused in the transaction that would write it.
create table es.leases (
  client_id  uuid             not null,
  name       text collate "C" not null,
  token      bigint           not null,
  holder     uuid             not null,
  expires_at timestamptz      not null,
  primary key (client_id, name)
) with (fillfactor = 50);
call pipelabs_walls.raise('es.leases');

-- The new token, if nobody else holds it.
create function es.take_lease(of_client uuid, of_name text, by_holder uuid, for_ms bigint)
  returns bigint language sql volatile security definer
  set search_path = es, pg_temp
as $$
  insert into es.leases as l (client_id, name, token, holder, expires_at)
  values (of_client, of_name, 1, by_holder, clock_timestamp() + for_ms * interval '1 millisecond')
  on conflict (client_id, name) do update
  set token = l.token + 1, holder = excluded.holder, expires_at = excluded.expires_at
  where l.expires_at < clock_timestamp()
  returning token
$$;

-- Which of these leases are still their holder's; their time begins anew.
create function es.renew_leases(r_client uuid[], r_name text[], r_token bigint[], by_holder uuid, for_ms bigint)
  returns table (client_id uuid, name text) language sql volatile security definer
  set search_path = es, pg_temp
as $$
  update es.leases l
     set expires_at = clock_timestamp() + for_ms * interval '1 millisecond'
    from unnest(r_client, r_name, r_token) r(client_id, name, token)
   where (l.client_id, l.name, l.token, l.holder) = (r.client_id, r.name, r.token, by_holder)
  returning l.client_id, l.name
$$;

-- Given back before its time; the token stays, so that the next holder's is higher.
create function es.release_lease(of_client uuid, of_name text, of_token bigint)
  returns void language sql volatile security definer
  set search_path = es, pg_temp
as $$
  update es.leases l
     set expires_at = '-infinity'
   where (l.client_id, l.name, l.token) = (of_client, of_name, of_token)
$$;

-- Which of these tokens are not the newest. The rows stay locked to the end of the transaction: nobody takes a lease over
-- between this look and the commit of what it allows.
create function es.stale_fences(f_client uuid[], f_name text[], f_token bigint[])
  returns table (client_id uuid, name text, token bigint) language plpgsql volatile security definer
  set search_path = es, pg_temp
as $$
#variable_conflict use_column
begin
  perform
     from es.leases l
    where (l.client_id, l.name) in (select c, n from unnest(f_client, f_name) f(c, n))
    order by l.client_id, l.name
      for share;
  return query
  select f.c, f.n, f.t
    from unnest(f_client, f_name, f_token) f(c, n, t)
   where not exists (select from es.leases l where (l.client_id, l.name, l.token) = (f.c, f.n, f.t));
end $$;

create schema operator;

-- Raw bytes, whole. Under the client where the message names one of its instances, else under the desk.
create table operator.quarantine (
  client_id     uuid        not null,
  quarantine_id uuid        not null,                      -- follows from instance and bytes: told twice, kept once
  instance      text        not null,
  source        text        not null,                      -- mqtt, history, archive
  reason        text        not null,
  raw           bytea       not null,
  at            timestamptz not null,
  primary key (client_id, quarantine_id)
);
call pipelabs_walls.raise('operator.quarantine');

-- It works across clients; of the streams it only reads.
create policy across_clients_operator on operator.quarantine as permissive            to pipelabs_operator using (true) with check (true);
create policy across_clients_operator on es.streams          as permissive for select to pipelabs_operator using (true);
create policy across_clients_operator on es.events           as permissive for select to pipelabs_operator using (true);

revoke all on function es.take_lease, es.renew_leases, es.release_lease, es.stale_fences from public;
grant execute on function es.take_lease, es.renew_leases, es.release_lease, es.stale_fences to pipelabs_writer;
grant usage on schema es, operator to pipelabs_operator;
grant usage on schema operator to pipelabs_admin_query;
grant select on es.streams, es.events to pipelabs_operator;
grant select, insert on operator.quarantine to pipelabs_operator;
grant select on operator.quarantine to pipelabs_admin_query;
