#!/usr/bin/env python3
"""pnl_reference.py DIR AS_OF_MS: the P&L report of a data set, straight from the rules; prints JSON.

A second opinion for tests, to be read rather than to be fast; it shares no code with the product. Exact fractions: only
the cost that a partial close releases and what is printed are rounded, to 36 places, half to even.
"""
import json, os, sys
from bisect import bisect_right
from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate

MINUTE, DAY, ZERO = 60_000, 86_400_000, Fraction(0)
BOOK = ('client', 'bot', 'exchange', 'market', 'pair')
NUMBERS = ('price', 'amount', 'fee', 'mid_at_fill', 'position', 'cost')
def total(values): return sum(values, ZERO)
def to_36_places(x): return Fraction(round(x * 10**36), 10**36)  # round() of a Fraction goes half to even
def texts(amounts): return {asset: text(amount) for asset, amount in sorted(amounts.items()) if amount != 0}

def text(x):
    """A plain decimal, no exponent, no trailing zeros; null stays null."""
    if x is None: return None
    units = round(x * 10**36)
    whole, rest = divmod(abs(units), 10**36)
    return '-' * (units < 0) + f'{whole}.{rest:036}'.rstrip('0').rstrip('.')

def read(folder, name, identity):
    """The rows of a file in order of arrival. Of rows with one identity the first stays, whatever the others say."""
    path, rows = os.path.join(folder, name), {}
    for line in open(path, encoding='utf-8') if os.path.exists(path) else []:
        row = json.loads(line)
        row |= {name: Fraction(row[name]) for name in NUMBERS if row.get(name) is not None}
        rows.setdefault(tuple(row[field] for field in identity) if identity else len(rows), row)
    return list(rows.values())

class Rates:
    """Mids by pair. At time t: the last one not after t, and of equal times the one that arrived later."""
    def __init__(self, rows):
        self.by_pair = defaultdict(list)
        for row in sorted(rows, key=lambda row: row['ts']):  # stable: equal times keep their order of arrival
            self.by_pair[row['pair']].append(row)

    def mid(self, pair, t):
        rows = self.by_pair.get(pair, [])
        known = bisect_right(rows, t, key=lambda row: row['ts'])
        return rows[known - 1]['price'] if known else None

    def leg(self, asset, into, t):
        direct, inverse = self.mid(f'{asset}-{into}', t), self.mid(f'{into}-{asset}', t)
        return Fraction(1) if asset == into else direct if direct is not None else 1 / inverse if inverse else None

    def rate(self, asset, into, t):
        """Direct pair, else inverse, else both legs via USDT; else None."""
        straight, first, second = self.leg(asset, into, t), self.leg(asset, 'USDT', t), self.leg('USDT', into, t)
        if straight is not None: return straight
        return None if first is None or second is None else first * second

def fees_of(fill):
    """[(asset, amount)], or None where nobody knows the fee."""
    if fill.get('fees') is not None: return [(fee['asset'], Fraction(fee['amount'])) for fee in fill['fees']]
    if fill.get('fee') is None or fill.get('fee_asset') is None: return None
    return [(fill['fee_asset'], fill['fee'])]

def net_delta(fill):
    """What the fill did to the position: on spot a fee in the base asset comes out of the amount itself."""
    base = fill['pair'].split('-')[0]
    expense = total(amount for asset, amount in fees_of(fill) or [] if asset == base)
    signed = fill['amount'] if fill['side'] == 'buy' else -fill['amount']
    return signed - expense if fill['market'] == 'spot' else signed

def by_average(trades):
    """After each trade: (position, cost pool, realized gross so far)."""
    position = pool = realized = ZERO
    for delta, price in trades:
        closing = ZERO if position * delta >= 0 else delta if abs(delta) <= abs(position) else -position
        if closing:
            released = pool if closing == -position else to_36_places(pool * -closing / position)
            realized += -closing * price - released
            pool -= released
        pool += (delta - closing) * price
        position += delta
        yield position, pool, realized

def by_lots(trades, which):
    """(realized gross, cost of what is left): lots are closed from one end, 0 = oldest first, -1 = newest first."""
    lots, realized = [], ZERO
    for delta, price in trades:
        while delta and lots and lots[0][0] * delta < 0:
            held, bought_at = lots.pop(which)
            closing = delta if abs(delta) < abs(held) else -held
            realized += -closing * (price - bought_at)
            delta -= closing
            if held + closing: lots.insert(0 if which == 0 else len(lots), (held + closing, bought_at))
        if delta: lots.append((delta, price))
    return realized, total(held * price for held, price in lots)

def by_matched_average(trades):
    bought, sold = total(d for d, _ in trades if d > 0), total(-d for d, _ in trades if d < 0)
    if not bought or not sold: return ZERO
    paid, received = total(d * p for d, p in trades if d > 0), total(-d * p for d, p in trades if d < 0)
    return min(bought, sold) * (received / sold - paid / bought)

class Series:
    """Amounts with their times: the sum up to and including a time."""
    def __init__(self, rows):
        rows = sorted(rows, key=lambda row: row[0])
        self.times, self.sums = [ts for ts, _ in rows], [ZERO, *accumulate(amount for _, amount in rows)]

    def until(self, t):
        return self.sums[bisect_right(self.times, t)]

class Book:
    """One client, bot, exchange, market and pair: everything that happened in it up to as_of."""
    def __init__(self, key, fills, funding, opening, rates, as_of):
        self.key, self.pair, self.fills, self.rates, self.as_of = key, key[4], fills, rates, as_of
        self.base, self.quote = self.pair.split('-')
        self.commissions, self.unconverted, self.complete = defaultdict(Fraction), defaultdict(Fraction), True
        self.fees = Series([(fill['ts'], self.fee_value(fill)) for fill in self.fills])
        self.funding = Series([(row['ts'], self.value(row['asset'], row['amount'], row['ts'])) for row in funding])
        self.volume = Series([(fill['ts'], fill['price'] * fill['amount']) for fill in self.fills])
        moves = [(row['ts'], row['position'], row['cost'] / row['position']) for row in opening if row['position']]
        moves += [(fill['ts'], net_delta(fill), fill['price']) for fill in self.fills]
        moves.sort(key=lambda move: move[0])  # stable: equal times keep their order of arrival
        self.trades = [(delta, price) for _, delta, price in moves]
        self.times, self.holdings = [ts for ts, *_ in moves], [(ZERO, ZERO, ZERO), *by_average(self.trades)]
        self.start = min((row['ts'] for row in opening + fills), default=None)  # None: there was only funding

    def value(self, asset, amount, t, price=None, unconverted=None):
        """An amount in quote, at a fill's price if it is of the base asset. Nothing of an asset is worth nothing."""
        rate = price if price is not None and asset == self.base else self.rates.rate(asset, self.quote, t)
        self.complete = self.complete and (rate is not None or amount == 0)
        if rate is None and unconverted is not None: unconverted[asset] += amount
        return amount * (rate or 0)

    def fee_value(self, fill):
        fees = fees_of(fill)
        self.complete = self.complete and fees is not None
        for asset, amount in fees or []: self.commissions[asset] += amount
        return total(self.value(*fee, fill['ts'], fill['price'], self.unconverted) for fee in fees or [])

    def holding(self, t): return self.holdings[bisect_right(self.times, t)]
    def gain(self, t, cost):
        """What the position would bring at its mark of that time, above this cost; null when it has no mark."""
        position, mark = self.holding(t)[0], self.rates.mid(self.pair, t)
        return ZERO if position == 0 else None if mark is None else position * mark - cost

    def unrealized(self, t): return self.gain(t, self.holding(t)[1])
    def realized_net(self, t): return self.holding(t)[2] - self.fees.until(t) + self.funding.until(t)

    def total_net(self, t):
        unrealized = self.unrealized(t)
        return None if unrealized is None else self.realized_net(t) + unrealized

    def max_drawdown(self):
        peak = deepest = ZERO
        first = self.as_of + 1 if self.start is None else (self.start // MINUTE + 1) * MINUTE
        for t in [*range(first, self.as_of + 1, MINUTE), self.as_of]:
            equity = self.total_net(t)
            if equity is None: return None
            peak = max(peak, equity)
            deepest = max(deepest, peak - equity)
        return deepest

    def time_weighted(self, measure):
        times = self.times + [self.as_of]
        area = total(measure(self.holding(a)[0]) * (b - a) for a, b in zip(times, times[1:]))
        return area / (self.as_of - self.start) if self.start is not None and self.as_of > self.start else None

    def spread_capture(self):
        mids = [fill.get('mid_at_fill') or self.rates.mid(self.pair, fill['ts']) for fill in self.fills]
        if None in mids: return None
        return total(net_delta(fill) * (mid - fill['price']) for fill, mid in zip(self.fills, mids))

    def days(self):
        before = ZERO
        for day in [] if self.start is None else range(self.start // DAY, self.as_of // DAY + 1):
            eve, end = day * DAY - 1, min((day + 1) * DAY - 1, self.as_of)
            of_day = lambda series: text(series.until(end) - series.until(eve))
            now = self.total_net(end)
            yield {'date': str(date(1970, 1, 1) + timedelta(days=day)),
                   'realized': text(self.holding(end)[2] - self.holding(eve)[2]), 'fees_quote': of_day(self.fees),
                   'funding': of_day(self.funding), 'volume_quote': of_day(self.volume),
                   'position': text(self.holding(end)[0]), 'unrealized_eod': text(self.unrealized(end)),
                   'cum_total_net': text(now), 'pnl': text(None if None in (now, before) else now - before)}
            before = now

    def report(self):
        end, (position, pool, realized) = self.as_of, self.holding(self.as_of)
        assert realized - pool == total(-delta * price for delta, price in self.trades)  # rule 9, exactly
        unrealized, spread, volume = self.unrealized(end), self.spread_capture(), self.volume.until(end)
        self.complete = self.complete and unrealized is not None
        maker = total(fill['price'] * fill['amount'] for fill in self.fills if fill.get('liquidity') == 'maker')
        lots = [(name, *by_lots(self.trades, which)) for name, which in (('fifo', 0), ('lifo', -1))]
        buys = sum(fill['side'] == 'buy' for fill in self.fills)
        return dict(zip(BOOK, self.key)) | {
            'fills': len(self.fills), 'buys': buys, 'sells': len(self.fills) - buys,
            'volume_base': text(total(fill['amount'] for fill in self.fills)), 'volume_quote': text(volume),
            'maker_ratio': text(maker / volume if volume else None), 'position': text(position),
            'avg_cost': text(pool / position if position else None), 'realized_gross': text(realized),
            'fees_by_asset': texts(self.commissions), 'fees_quote': text(self.fees.until(end)),
            'unconverted_fees': texts(self.unconverted), 'funding': text(self.funding.until(end)),
            'realized_net': text(self.realized_net(end)), 'mark': text(self.rates.mid(self.pair, end)),
            'unrealized': text(unrealized), 'total_net': text(self.total_net(end)), 'complete': self.complete,
            'spread_capture': text(spread),
            'inventory_pnl': text(None if None in (unrealized, spread) else realized + unrealized - spread),
            'max_drawdown_1m': text(self.max_drawdown()), 'tw_inventory': text(self.time_weighted(lambda x: x)),
            'tw_abs_inventory': text(self.time_weighted(abs)), 'daily': list(self.days()),
            'alternatives': {'matched_average': {'realized_gross': text(by_matched_average(self.trades))}} | {
                name: {'realized_gross': text(gross), 'cost': text(cost), 'unrealized': text(self.gain(end, cost))}
                for name, gross, cost in lots}}

def client_report(books, rates, as_of):
    """Sums over a client's books. Without a rate to USDT of every quote the totals are null."""
    by_quote, commissions = defaultdict(lambda: defaultdict(Fraction)), defaultdict(Fraction)
    for book in books:
        for name, amount in (('realized_net', book.realized_net(as_of)), ('unrealized', book.unrealized(as_of) or 0),
                             ('fees_quote', book.fees.until(as_of)), ('funding', book.funding.until(as_of)),
                             ('volume_quote', book.volume.until(as_of))):
            by_quote[book.quote][name] += amount
        for asset, amount in book.commissions.items(): commissions[asset] += amount
    worth = [(sums, rates.rate(quote, 'USDT', as_of)) for quote, sums in by_quote.items()]
    known = all(rate is not None for _, rate in worth)
    in_usdt = lambda *names: text(total(sums[n] * rate for sums, rate in worth for n in names) if known else None)
    return {'by_quote': {quote: {name: text(x) for name, x in sums.items()} for quote, sums in by_quote.items()},
            'commissions': texts(commissions), 'fills': sum(len(book.fills) for book in books),
            'total_usdt': in_usdt('realized_net', 'unrealized'), 'volume_usdt': in_usdt('volume_quote'),
            'complete': known and all(book.complete for book in books)}

def main(folder, as_of):
    known = lambda name, *identity: [row for row in read(folder, name, identity) if row['ts'] <= as_of]
    rates, market = Rates(known('rates.jsonl')), ('client', 'exchange', 'market', 'pair')
    facts = (known('fills.jsonl', *market, 'order_id', 'trade_id'), known('funding.jsonl', *market, 'funding_id'),
             known('opening.jsonl', *BOOK))
    by_book = defaultdict(lambda: ([], [], []))
    for kind, rows in enumerate(facts):
        for row in rows: by_book[tuple(row[field] for field in BOOK)][kind].append(row)
    books = [Book(key, *rows, rates, as_of) for key, rows in sorted(by_book.items())]
    groups = [book.report() for book in books]  # before the clients: it settles what is complete
    clients = {name: client_report([book for book in books if book.key[0] == name], rates, as_of)
               for name in sorted({book.key[0] for book in books})}
    flows = {}
    for row in known('transfers.jsonl', 'client', 'exchange', 'transfer_id'):
        so_far, rate = flows.get(row['client'], ZERO), rates.rate(row['asset'], 'USDT', row['ts'])
        flows[row['client']] = None if None in (so_far, rate) else so_far + row['amount'] * rate
    return {'as_of': as_of, 'groups': groups, 'clients': clients,
            'net_flows_usdt': {client: text(amount) for client, amount in flows.items()}}

if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1], int(sys.argv[2])), indent=1))
