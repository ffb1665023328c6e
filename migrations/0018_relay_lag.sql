-- How far what is published on NATS is behind the streams, for whoever watches it: the relay itself may be what stands still.
-- Nothing, where no relay has ever run.
create function relay.behind()
  returns table (events bigint, since timestamptz) language sql stable
  set search_path = relay, es, pg_temp
as $$
  select s.head - coalesce(c.reached, 0),
         (select e.recorded_at from es.events e where e.client_id = s.client_id and e.client_seq = coalesce(c.reached, 0) + 1)
    from es.streams s
    left join relay.checkpoints c using (client_id)
   where s.head > coalesce(c.reached, 0)
     -- The desk's own stream is published to nobody.
     and s.client_id <> '00000000-0000-0000-0000-000000000000'
     and exists (select from relay.checkpoints)
$$;
revoke all on function relay.behind from public;
grant execute on function relay.behind to pipelabs_admin_query;
