-- What each book came to after the newest event, the mark left aside: figures that need one are made when they are asked
-- for. Money is in the quote asset, amounts are in the base asset.
create table pnl_books (
  client_id            uuid        not null,
  bot_id               uuid        not null,
  exchange             text        not null,
  market               text        not null,
  pair                 text        not null,
  opened               timestamptz,
  fills                bigint      not null,
  buys                 bigint      not null,
  sells                bigint      not null,
  volume_base          numeric     not null,
  volume_quote         numeric     not null,
  maker_volume         numeric     not null,
  position             numeric     not null,
  cost                 numeric     not null,
  realized             numeric     not null,
  fifo_cost            numeric     not null,
  fifo_realized        numeric     not null,
  lifo_cost            numeric     not null,
  lifo_realized        numeric     not null,
  bought               numeric     not null,
  bought_for           numeric     not null,
  sold                 numeric     not null,
  sold_for             numeric     not null,
  fees_by_asset        jsonb       not null,
  fees_quote           numeric     not null,
  unconverted_fees     jsonb       not null,
  unknown_fees         bigint      not null,
  funding              numeric     not null,
  unconverted_funding  jsonb       not null,
  spread_capture       numeric,
  weighted             numeric     not null,
  weighted_abs         numeric     not null,
  weighed_until        timestamptz not null,
  peak                 numeric     not null,
  drawdown             numeric,
  day_realized         numeric     not null,
  day_fees             numeric     not null,
  day_funding          numeric     not null,
  day_volume           numeric     not null,
  total_before_day     numeric,
  primary key (client_id, bot_id, exchange, market, pair)
);

-- Finished UTC days of each book. The one under way is made from pnl_books.
create table pnl_days (
  client_id     uuid    not null,
  bot_id        uuid    not null,
  exchange      text    not null,
  market        text    not null,
  pair          text    not null,
  date          date    not null,
  realized      numeric not null,
  fees_quote    numeric not null,
  funding       numeric not null,
  volume_quote  numeric not null,
  position      numeric not null,
  unrealized_eod numeric,
  cum_total_net numeric,
  pnl           numeric,
  primary key (client_id, date, bot_id, exchange, market, pair)
);

-- One row a client: its name, how far event time has come, and its deposits less withdrawals in USDT.
create table pnl_clients (
  client_id  uuid        primary key,
  slug       text,
  newest_at  timestamptz,
  has_flows  boolean     not null default false,
  net_flows  numeric                                        -- null with has_flows: one could not be valued
);

-- What people call the bots.
create table pnl_bots (
  client_id uuid not null,
  bot_id    uuid not null,
  name      text not null,
  primary key (client_id, bot_id)
);

-- The newest observed price of each pair.
create table pnl_marks (
  client_id uuid    not null,
  pair      text    not null,
  price     numeric not null,
  primary key (client_id, pair)
);

-- The whole fold as it stood before a moment: each day's end, the newest day's hours, the newest hour's ten minutes.
create table pnl_closings (
  client_id uuid        not null,
  at        timestamptz not null,
  books     text        not null,
  primary key (client_id, at)
);
-- Written often and read seldom: to compress them would cost a rebuild a quarter of the database's time.
alter table pnl_closings alter column books set storage external;

-- The earliest and latest moment that the events of each 256 of a stream speak of.
create table pnl_blocks (
  client_id uuid        not null,
  block     bigint      not null,
  first_at  timestamptz not null,
  last_at   timestamptz not null,
  primary key (client_id, block)
);
