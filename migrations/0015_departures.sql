-- What the relay needs of the desk's stream: to find who is let in no more among all that is told there.

-- Small: it holds these events alone, and no other insert touches it.
create index events_departures on es.events (client_id, client_seq)
 where event_type in ('SessionRevoked', 'TokenRevoked', 'PasswordChanged', 'SecondFactorRemoved', 'UserBarred',
                      'UserUnbarred', 'RoleChanged');
