-- Which events a read model was told to leave out, beside how far it has read: whoever reads a stretch of the stream again
-- for a client has to leave out the same, and the decisions themselves stand in the desk's stream, which no client sees.
alter table rm.checkpoints add column skipped bigint[] not null default '{}';

update rm.checkpoints c
   set skipped = array(
         select (e.payload #>> '{ParkedSkipped,seq}')::bigint
           from es.events e
          where e.client_id = '00000000-0000-0000-0000-000000000000' and e.aggregate_type = 'desk' and e.aggregate_type <> 'ledger'
            and e.aggregate_id = 'parked:' || c.projection || ':' || c.client_id
            and e.event_type = 'ParkedSkipped');

-- Nobody may call a function that was not granted to him, be it one that a trigger alone runs.
revoke all on all functions in schema auth from public;
