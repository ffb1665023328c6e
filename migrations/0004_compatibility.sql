-- The streams as the tables that postgres-es 0.5.0 expects, so that its stock repository, unmodified, can be held against
-- ours. Its connection sets search_path to compat and app.client_id to one client. The role that may use it logs in
-- nowhere: whoever compares lends it to a login of his own.
create schema compat;

-- The RFC 8785 text of a value. Text is escaped by Postgres exactly as RFC 8785 asks; a test tries every character.
create function es.canonical(value jsonb) returns text language plpgsql immutable strict parallel safe as $$
declare
  number numeric;
begin
  case jsonb_typeof(value)
  when 'object' then
    -- RFC 8785 sorts by UTF-16 code units, "C" by code points. They differ only where U+E000 to U+FFFF meets what UTF-16
    -- writes as a surrogate pair: so these are moved behind the last code point, and that one stays before them.
    return '{' || coalesce((
      select string_agg(to_json(m.key)::text || ':' || es.canonical(m.value), ',' order by
               regexp_replace(replace(m.key, chr(1114111), chr(1114111) || chr(1)),
                              '([\uE000-\uFFFF])', chr(1114111) || chr(2) || '\1', 'g') collate "C")
        from jsonb_each(value) m), '') || '}';
  when 'array' then
    return '[' || coalesce((
      select string_agg(es.canonical(a.element), ',' order by a.place)
        from jsonb_array_elements(value) with ordinality a(element, place)), '') || ']';
  when 'number' then
    number := value::numeric;
    -- Beyond 2^53 readers disagree about a number, and RFC 8785 writes 1.0 as 1: neither may be hashed.
    if scale(number) <> 0 or abs(number) >= 9007199254740992 then
      raise exception 'number % is not an integer below 2^53: an event holds decimals as strings', left(number::text, 40)
        using errcode = 'invalid_parameter_value';
    end if;
    return number::text;
  else
    return value::text;
  end case;
end $$;

-- What an event says: SHA-256 of the RFC 8785 form of these nine fields.
create function es.content_hash(
  client uuid, aggregate_type text, aggregate_id text, event_id uuid, event_type text, event_version text,
  metadata jsonb, occurred_at timestamptz, payload jsonb
) returns bytea language sql immutable strict parallel safe
as $$
  select sha256(convert_to(es.canonical(jsonb_build_object(
    'aggregate_id',   aggregate_id,
    'aggregate_type', aggregate_type,
    'client_id',      client,
    'event_id',       event_id,
    'event_type',     event_type,
    'event_version',  event_version,
    'metadata',       metadata,
    'occurred_at',    to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'payload',        payload)), 'UTF8'))
$$;

-- Where an event stands: one link of the chain, 32 zero bytes before the first.
create function es.chain_hash(
  previous bytea, client_seq bigint, aggregate_seq bigint, recorded_at timestamptz, content bytea
) returns bytea language sql immutable strict parallel safe
as $$
  select sha256(previous || int8send(client_seq) || int8send(aggregate_seq)
                || int8send((extract(epoch from recorded_at) * 1000000)::bigint) || content)
$$;

-- RFC 9562: 48 bits of milliseconds, version 7, the rest of a random UUID.
create function es.uuid_v7() returns uuid language sql volatile parallel safe
as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                  placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                  from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Whose streams this connection reads and writes. Loud, because an empty answer would pass for an empty history.
create function compat.client() returns uuid language plpgsql stable as $$
declare
  client constant uuid := nullif(current_setting('app.client_id', true), '')::uuid;
begin
  if client is null then
    raise exception 'no client is set: set app.client_id before using schema compat' using errcode = 'object_not_in_prerequisite_state';
  end if;
  return client;
end $$;

-- Read with the owner's rights, as the writer may not read es.events itself; hence the barrier: no condition of the
-- reader's is tried on a row before the client has been.
create view compat.events with (security_barrier = true) as
select e.aggregate_type, e.aggregate_id, e.aggregate_seq as sequence, e.event_type, e.event_version, e.payload, e.metadata
  from es.events e
 where e.client_id = (select compat.client());

-- One event at a time, under the same lock and to the same bytes as es.append. A version that is taken, or skipped, is a
-- unique violation: the one error that postgres-es understands as an optimistic lock.
create function compat.append_one() returns trigger language plpgsql security definer
  set search_path = es, pg_temp
as $$
declare
  client constant uuid := compat.client();
  tip     es.streams;
  version bigint;
  at      timestamptz;
  id      uuid;
  said    jsonb;
  content bytea;
  link    bytea;
begin
  -- cqrs-es has no metadata where it says null; an event's payload and metadata are always objects.
  said := coalesce(nullif(new.metadata, 'null'), '{}');
  if jsonb_typeof(new.payload) is distinct from 'object' or jsonb_typeof(said) <> 'object' then
    raise exception 'event % of % % is not an object with an object as metadata', new.sequence, new.aggregate_type, new.aggregate_id
      using errcode = 'invalid_parameter_value';
  end if;

  insert into es.streams (client_id)
  select client
   where not exists (select from es.streams s where s.client_id = client)
  on conflict do nothing;
  select * into strict tip from es.streams s where s.client_id = client for update;

  if new.aggregate_type = 'ledger' then
    version := tip.ledger_version;
  else
    select coalesce(max(e.aggregate_seq), 0) into version
      from es.events e
     where e.client_id = client and e.aggregate_type = new.aggregate_type and e.aggregate_id = new.aggregate_id
       and e.aggregate_type <> 'ledger';                    -- or the planner cannot use events_aggregate
  end if;
  if new.sequence is distinct from version + 1 then
    raise exception '% % is at version %, so % cannot be its next', new.aggregate_type, new.aggregate_id, version, new.sequence
      using errcode = 'unique_violation', schema = 'es', table = 'events', constraint = 'events_aggregate';
  end if;

  at := greatest(date_trunc('microseconds', clock_timestamp()), tip.updated_at);
  id := es.uuid_v7();
  content := es.content_hash(client, new.aggregate_type, new.aggregate_id, id, new.event_type, new.event_version, said, at, new.payload);
  link := es.chain_hash(tip.head_hash, tip.head + 1, new.sequence, at, content);

  insert into es.events (client_id, client_seq, aggregate_type, aggregate_id, aggregate_seq, event_id, event_type, event_version,
                         payload, metadata, occurred_at, recorded_at, content_hash, chain_hash, dedupe_key)
  values (client, tip.head + 1, new.aggregate_type, new.aggregate_id, new.sequence, id, new.event_type, new.event_version,
          new.payload, said, at, at, content, link,
          encode(substring(sha256(convert_to(said ->> 'key', 'UTF8')) from 1 for 16), 'hex')::uuid);
  update es.streams s
     set head = tip.head + 1, head_hash = link, updated_at = at,
         ledger_version = tip.ledger_version + (new.aggregate_type = 'ledger')::int
   where s.client_id = client;
  return new;
end $$;
create trigger append_one instead of insert on compat.events for each row execute function compat.append_one();

-- What postgres-es folds for itself, beside es.snapshots: its snapshots are not ours, and the product never makes any.
create table compat.snapshots (
  client_id        uuid             not null default compat.client(),
  aggregate_type   text collate "C" not null,
  aggregate_id     text collate "C" not null,
  last_sequence    bigint           not null,
  current_snapshot bigint           not null,
  payload          jsonb            not null,
  primary key (client_id, aggregate_type, aggregate_id)
);
alter table compat.snapshots enable row level security;
alter table compat.snapshots force row level security;
create policy own_client on compat.snapshots to pipelabs_compat
  using (client_id = (select compat.client()))
  with check (client_id = (select compat.client()));

revoke all on function es.canonical, es.content_hash, es.chain_hash, es.uuid_v7 from public;
revoke all on all functions in schema compat from public;
grant usage on schema es, compat to pipelabs_compat;
grant execute on function es.canonical, es.content_hash, es.chain_hash, es.uuid_v7, compat.client to pipelabs_compat;
grant select, insert on compat.events to pipelabs_compat;
grant select, insert, update on compat.snapshots to pipelabs_compat;
