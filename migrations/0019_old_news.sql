-- What was told long ago is forgotten: nobody asks for it again, and the events tell it for ever.
grant delete on alerts.messages, alerts.told to pipelabs_alerts;

-- What came of a try, until it is recorded: it was made, whoever dies then.
alter table alerts.messages add column came jsonb;

alter table alerts.engines
  -- From which event on the alerts of a client have to be read to know all that somebody may still have to hear of.
  add column news_from bigint      not null default 1,
  -- When somebody last got through all that a client's alerts follow from.
  add column passed_at timestamptz not null default now();

-- Whoever watches whether alerts are evaluated at all sees when that was, and nothing else.
create policy across_clients_relay on alerts.engines as permissive for select to pipelabs_relay using (true);
grant usage on schema alerts to pipelabs_relay;
grant select (passed_at) on alerts.engines to pipelabs_relay;

drop function es.lease_ends(uuid, text);
