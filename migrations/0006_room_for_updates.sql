-- Rows that are updated all the time stay on their page, out of every index.
alter table rm.checkpoints set (fillfactor = 50);
alter table rm.attempts set (fillfactor = 50);
