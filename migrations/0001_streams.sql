-- The streams: one gapless, totally ordered, hash-chained stream a client. Appended to, never changed.
create schema es;

-- One row a client: lock, head and chain tip. fillfactor keeps the update HOT, so head stays out of every index.
create table es.streams (
  client_id      uuid        primary key,
  head           bigint      not null default 0,
  head_hash      bytea       not null default decode(repeat('00', 32), 'hex'),
  updated_at     timestamptz not null default 'epoch',    -- recorded_at of the head: the next one is never earlier
  ledger_version bigint      not null default 0           -- the ledger is in no index; this row is written anyway
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- No CHECK constraints: es.append is the only writer, and the committer computes what it writes.
create table es.events (
  client_id      uuid               not null,
  client_seq     bigint             not null,
  aggregate_type text collate "C"   not null,
  aggregate_id   text collate "C"   not null,
  aggregate_seq  bigint             not null,
  event_id       uuid               not null,
  event_type     text collate "C"   not null,
  event_version  text collate "C"   not null,
  payload        jsonb              not null,
  metadata       jsonb              not null,
  occurred_at    timestamptz        not null,
  recorded_at    timestamptz        not null,
  content_hash   bytea              not null,
  chain_hash     bytea              not null,
  dedupe_key     uuid,                                    -- first 16 bytes of SHA-256 of the text in metadata.key
  primary key (client_id, client_seq)
) partition by hash (client_id);

do $$
begin
  for i in 0..15 loop
    execute format('create table es.events_p%s partition of es.events for values with (modulus 16, remainder %s)', i, i);
  end loop;
end $$;

create unique index events_dedupe on es.events (client_id, dedupe_key)
 where dedupe_key is not null;
create unique index events_aggregate on es.events (client_id, aggregate_type, aggregate_id, aggregate_seq)
 where aggregate_type <> 'ledger';

-- A folded aggregate, so that a long history need not be replayed. Keyed by the shape of the state: a changed state
-- type finds none. Never the truth: snapshot + tail = full replay.
create table es.snapshots (
  client_id      uuid             not null,
  aggregate_type text collate "C" not null,
  aggregate_id   text collate "C" not null,
  schema_hash    text collate "C" not null,
  version        bigint           not null,
  state          jsonb            not null,
  primary key (client_id, aggregate_type, aggregate_id, schema_hash)
);

-- Heads, signed outside the database: whoever rewrites a chain cannot rewrite these.
create table es.signed_heads (
  client_id  uuid        not null,
  seq        bigint      not null,
  chain_hash bytea       not null,
  at         timestamptz not null,
  signature  bytea       not null,
  public_key bytea       not null,
  primary key (client_id, seq, public_key)
);

create function es.immutable() returns trigger language plpgsql as $$
begin
  raise exception 'events are append-only' using errcode = 'ES403';
end $$;
create trigger no_change   before update or delete on es.events       for each row       execute function es.immutable();
create trigger no_truncate before truncate         on es.events       for each statement execute function es.immutable();
-- A partition can be truncated by its own name.
do $$
begin
  for i in 0..15 loop
    execute format('create trigger no_truncate before truncate on es.events_p%s for each statement execute function es.immutable()', i);
  end loop;
end $$;
create trigger no_change   before update or delete on es.signed_heads for each row       execute function es.immutable();
create trigger no_truncate before truncate         on es.signed_heads for each statement execute function es.immutable();

-- h_*: one element a client, sorted by client_id: that is the lock order. e_*: one element an event. One UPDATE locks,
-- verifies and moves the heads; a client that was not where the committer thought is returned and nothing of it written.
-- The planner settings keep a nested loop over the sorted arrays: hash and merge plans lock in another order, and a plan
-- cached while the tables were empty costs twice.
create function es.append(
  h_client uuid[], h_head bigint[], h_hash bytea[], h_new_head bigint[], h_new_hash bytea[], h_at timestamptz[], h_ledger bigint[],
  e_client uuid[], e_seq bigint[], e_agg_type text[], e_agg_id text[], e_agg_seq bigint[], e_id uuid[], e_type text[],
  e_version text[], e_payload text[], e_metadata text[], e_occurred timestamptz[], e_recorded timestamptz[],
  e_content bytea[], e_chain bytea[], e_dedupe uuid[]
) returns uuid[] language plpgsql security definer
  set search_path = es, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
declare
  moved    uuid[];
  expected bigint;
  written  bigint;
begin
  with m as (
    update es.streams s
       set head = h.new_head, head_hash = h.new_hash, updated_at = h.at, ledger_version = h.ledger
      from unnest(h_client, h_head, h_hash, h_new_head, h_new_hash, h_at, h_ledger)
           h(client_id, head, hash, new_head, new_hash, at, ledger)
     where s.client_id = h.client_id
       and s.head = h.head
       and s.head_hash = h.hash
    returning s.client_id, h.new_head - h.head as events)
  select coalesce(array_agg(client_id), '{}'), coalesce(sum(events), 0) into moved, expected from m;

  if cardinality(moved) = cardinality(h_client) then        -- the usual case needs no filter
    insert into es.events
    select c, s, at, ai, av, id, ty, ve, p::jsonb, m::jsonb, oc, re, co, ch, dk
      from unnest(e_client, e_seq, e_agg_type, e_agg_id, e_agg_seq, e_id, e_type, e_version, e_payload, e_metadata,
                  e_occurred, e_recorded, e_content, e_chain, e_dedupe)
           u(c, s, at, ai, av, id, ty, ve, p, m, oc, re, co, ch, dk);
    get diagnostics written = row_count;
    if written <> expected then
      raise exception 'heads move by % events, % were given', expected, written using errcode = 'ES400';
    end if;
    return '{}';
  end if;
  insert into es.events
  select c, s, at, ai, av, id, ty, ve, p::jsonb, m::jsonb, oc, re, co, ch, dk
    from unnest(e_client, e_seq, e_agg_type, e_agg_id, e_agg_seq, e_id, e_type, e_version, e_payload, e_metadata,
                e_occurred, e_recorded, e_content, e_chain, e_dedupe)
         u(c, s, at, ai, av, id, ty, ve, p, m, oc, re, co, ch, dk)
   where c = any(moved);
  get diagnostics written = row_count;
  if written <> expected then
    raise exception 'heads move by % events, % were given', expected, written using errcode = 'ES400';
  end if;
  return (select array_agg(c) from unnest(h_client) c where c <> all(moved));
end $$;

-- Which of these keys are stored already, and under which number.
create function es.seen(k_client uuid[], k_key uuid[])
  returns table (client_id uuid, dedupe_key uuid, client_seq bigint) language plpgsql stable security definer
  set search_path = es, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  select e.client_id, e.dedupe_key, e.client_seq
    from unnest(k_client, k_key) k(c, d)
    join es.events e on e.client_id = k.c and e.dedupe_key = k.d;
end $$;

-- Which of these events stand where they were tried: what became of an append whose answer was lost.
create function es.written(w_client uuid[], w_seq bigint[], w_id uuid[])
  returns table (event_id uuid, client_seq bigint) language plpgsql stable security definer
  set search_path = es, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  select e.event_id, e.client_seq
    from unnest(w_client, w_seq, w_id) w(client_id, client_seq, event_id)
    join es.events e on e.client_id = w.client_id and e.client_seq = w.client_seq and e.event_id = w.event_id;
end $$;

-- Where these streams stand; a stream that is not there yet is opened. With `held`, their rows stay locked to the end of
-- the transaction, in the order in which es.append locks them.
create function es.tips(clients uuid[], held boolean)
  returns table (client_id uuid, head bigint, head_hash bytea, updated_at timestamptz, ledger_version bigint)
  language plpgsql volatile security definer
  set search_path = es, pg_temp
as $$
#variable_conflict use_column
begin
  insert into es.streams (client_id)
  select c from unnest(clients) c
   where not exists (select from es.streams s where s.client_id = c)
   order by c
  on conflict do nothing;
  if held then
    return query
    select s.client_id, s.head, s.head_hash, s.updated_at, s.ledger_version
      from es.streams s
     where s.client_id = any(clients)
     order by s.client_id
       for update;
  else
    return query
    select s.client_id, s.head, s.head_hash, s.updated_at, s.ledger_version
      from es.streams s
     where s.client_id = any(clients);
  end if;
end $$;

-- How many events these aggregates have. The ledger's count stands in es.streams.
create function es.versions(a_client uuid[], a_type text[], a_id text[])
  returns table (client_id uuid, aggregate_type text, aggregate_id text, version bigint) language plpgsql stable security definer
  set search_path = es, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  select a.c, a.t, a.i, coalesce((
           select e.aggregate_seq
             from es.events e
            where e.client_id = a.c and e.aggregate_type = a.t and e.aggregate_id = a.i and e.aggregate_type <> 'ledger'
            order by e.aggregate_seq desc
            limit 1), 0)
    from unnest(a_client, a_type, a_id) a(c, t, i);
end $$;

-- One aggregate's own history after a version, for decisions. The ledger has none: it is loaded head-only, and the
-- condition that says so is what lets the partial index be used.
create function es.history(of_client uuid, of_type text, of_id text, after bigint)
  returns setof es.events language sql stable security definer
  set search_path = es, pg_temp
  set enable_seqscan = off set enable_bitmapscan = off
as $$
  select *
    from es.events
   where client_id = of_client and aggregate_type = of_type and aggregate_id = of_id and aggregate_seq > after
     and aggregate_type <> 'ledger'
   order by aggregate_seq
$$;

-- Events of one kind of aggregate after a number, in order: for a replay of all of them.
create function es.of_kind(of_client uuid, of_type text, after bigint, most integer)
  returns setof es.events language sql stable security definer
  set search_path = es, pg_temp
as $$
  select *
    from es.events
   where client_id = of_client and client_seq > after and aggregate_type = of_type
   order by client_seq
   limit most
$$;

-- Single events by number: what was the answer to a command that was sent again.
create function es.numbered(of_client uuid, numbers bigint[])
  returns setof es.events language sql stable security definer
  set search_path = es, pg_temp
as $$
  select *
    from es.events
   where client_id = of_client and client_seq = any(numbers)
   order by client_seq
$$;

create function es.load_snapshot(of_client uuid, of_type text, of_id text, shape text)
  returns table (version bigint, state jsonb) language sql stable security definer
  set search_path = es, pg_temp
as $$
  select s.version, s.state
    from es.snapshots s
   where s.client_id = of_client and s.aggregate_type = of_type and s.aggregate_id = of_id and s.schema_hash = shape
$$;

create function es.save_snapshot(of_client uuid, of_type text, of_id text, shape text, at_version bigint, folded text)
  returns void language sql volatile security definer
  set search_path = es, pg_temp
as $$
  insert into es.snapshots
  values (of_client, of_type, of_id, shape, at_version, folded::jsonb)
  on conflict (client_id, aggregate_type, aggregate_id, schema_hash) do update
     set version = excluded.version, state = excluded.state
   where snapshots.version < excluded.version
$$;

-- The wall in the database. FORCE, because the owner would pass otherwise; a RESTRICTIVE policy for everyone who asks on
-- behalf of one client; the parts that work across clients are let through by a policy with their name.
create schema pipelabs_walls;

create function pipelabs_walls.current_client() returns uuid language sql stable
  set search_path = pg_catalog, pg_temp
as $$ select nullif(current_setting('app.client_id', true), '')::uuid $$;

create procedure pipelabs_walls.raise(walled regclass) language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', walled);
  execute format('alter table %s force row level security', walled);
  execute format('create policy across_clients_owner on %s as permissive to pipelabs_owner using (true) with check (true)', walled);
  execute format('create policy across_clients_projector on %s as permissive to pipelabs_projector using (true) with check (true)', walled);
  execute format('create policy across_clients_admin on %s as permissive for select to pipelabs_admin_query using (true)', walled);
  execute format('create policy own_client_only on %s as restrictive to pipelabs_query, pipelabs_auditor
                  using (client_id = (select pipelabs_walls.current_client()))', walled);
  -- The desk''s own stream, under the nil id, is shown to no client.
  execute format('create policy never_the_desk on %s as restrictive to pipelabs_query
                  using (client_id <> ''00000000-0000-0000-0000-000000000000'')', walled);
  execute format('create policy own_client on %s as permissive for select to pipelabs_query, pipelabs_auditor using (true)', walled);
end $$;

call pipelabs_walls.raise('es.streams');
call pipelabs_walls.raise('es.events');
call pipelabs_walls.raise('es.snapshots');
call pipelabs_walls.raise('es.signed_heads');

-- Grants only on partitioned parents: a partition read directly ignores the parent's policy.
revoke all on all functions in schema es, pipelabs_walls from public;
revoke all on all procedures in schema pipelabs_walls from public;
grant execute on function pipelabs_walls.current_client to pipelabs_projector, pipelabs_query, pipelabs_admin_query, pipelabs_auditor;
grant execute on procedure pipelabs_walls.raise to pipelabs_projector;
grant usage on schema es to pipelabs_writer, pipelabs_projector, pipelabs_query, pipelabs_admin_query, pipelabs_auditor;
grant usage on schema pipelabs_walls to pipelabs_projector, pipelabs_query, pipelabs_admin_query, pipelabs_auditor;
grant execute on function es.append, es.seen, es.written, es.tips, es.versions, es.history, es.of_kind, es.numbered, es.load_snapshot, es.save_snapshot to pipelabs_writer;
grant select on es.streams, es.events, es.signed_heads to pipelabs_projector, pipelabs_query, pipelabs_admin_query, pipelabs_auditor;
grant insert on es.signed_heads to pipelabs_projector;
