#!/usr/bin/env python3
"""make_cases.py SEED DIR: a small hostile data set for differential tests; prints the as_of to report at.

The same seed gives the same files. Every number has at most 30 significant digits and 18 places.
"""
import json, os, random, sys
from decimal import Decimal as D, getcontext

getcontext().prec = 80
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
EXCHANGES = ['binance', 'bitmart', 'bybit', 'gate_io', 'kucoin', 'okx']
# Pair: price, size of an amount, places of its price and of its amount. The last ones seldom have any rate.
PAIRS = {'BTC-USDT': ('61000', '0.05', 2, 8), 'ETH-USDT': ('2700', '1', 2, 6), 'ETH-BTC': ('0.0441', '2', 6, 5),
         'SOL-ETH': ('0.0625', '8', 5, 3), 'SOL-USDC': ('170', '3', 3, 3), 'BTC-EUR': ('56000', '0.1', 1, 8),
         'PEPE-USDT': ('0.0000072', '80000000000', 18, 18), '1000SATS-BTC': ('0.0000000033', '9e11', 18, 4),
         'GT-USDT': ('7.1', '11', 4, 18), 'NEW-USDT': ('0.31', '500', 18, 2), 'NEW-XYZ': ('3', '7', 0, 0)}
THIRD = ['BNB', 'KCS', 'GT', 'XYZ', 'ODD', 'USDC', 'USDT']
STARTS = [1708992000000, 1723075200000, 1735430400000, 1739836800000, 1743206400000]  # leap day, new year, …
WORTH = {'USDT': '1', 'BTC': '61000', 'ETH': '2700', 'SOL': '170', 'USDC': '0.9996', 'EUR': '1.09', 'BNB': '520',
         'KCS': '11', 'GT': '7.1', 'PEPE': '0.0000072', '1000SATS': '0.0002', 'NEW': '0.31', 'XYZ': '0.1', 'ODD': '3'}

class Cases:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.start = self.r.choice(STARTS)
        self.span = self.r.choice([20 * MINUTE, 6 * HOUR, DAY, 3 * DAY, 4 * DAY])
        self.ids = 0
        self.clients = ['client-' + c for c in 'abc'[:self.r.randint(1, 3)]]
        self.scarce = self.chance(0.5)  # some pairs have no rate, or their first one only after the first fill

    def chance(self, p): return self.r.random() < p

    def number(self, x):
        x = D(x)
        digits = ''.join(map(str, x.as_tuple().digits)).strip('0')
        assert x == x.quantize(D('1e-18')) and len(digits) <= 30, x
        plain = format(x, 'f')
        if '.' in plain: plain = plain.rstrip('0').rstrip('.')
        if x and self.chance(0.06):  # as Python writes its floats: 7.2e-06
            mantissa, exponent = f'{x.normalize():e}'.split('e')
            return f'{mantissa}e{int(exponent):+03d}'
        return plain + ('0' if '.' in plain else '.00') if self.chance(0.03) else plain

    def around(self, value, spread, places):
        x = D(value) * D(str(self.r.uniform(1 - spread, 1 + spread)))
        if places > 12: x += D(self.r.randrange(10**4)).scaleb(-18)  # digits that a float has not
        return max(x.quantize(D(1).scaleb(-places)), D(1).scaleb(-places))

    def moment(self, before):
        """The next time of a book: now and then the same, a minute, the edge of a day, or days later."""
        kind = self.r.random()
        if kind < 0.12: return before
        t = before + self.r.choice([1, 700, 20_000, MINUTE, self.span // 25 + 1]) * self.r.randint(1, 3)
        if kind < 0.30: t = t // MINUTE * MINUTE + MINUTE
        elif kind < 0.36: t = (t // DAY + 1) * DAY + self.r.choice([-1, 0, 0, 1])
        elif kind < 0.38: t += self.r.randint(1, 2) * DAY
        return t if t < self.start + 5 * DAY else before + 1

    def books(self):
        pairs, made = self.r.sample(list(PAIRS), self.r.randint(1, 4)), set()
        for _ in range(self.r.randint(1, 6)):
            client = self.r.choice(self.clients)
            made.add((client, client + self.r.choice(['-mm', '-mm', '-vol']),
                      self.r.choice(EXCHANGES[:self.r.randint(1, 6)]),
                      self.r.choice(['spot', 'spot', 'perp']), self.r.choice(pairs)))
        return sorted(made)

    def row(self, book): return dict(zip(('client', 'bot', 'exchange', 'market', 'pair'), book))

    def fee(self, asset, notional, amount, base, quote):
        rate = D(self.r.choice(['0.001', '0.00075', '0.0025', '-0.0002', '-0.0001', '0']))
        if asset == base: fee = amount * rate
        else: fee = notional * rate * D(WORTH[quote]) / D(WORTH[asset])
        return fee.quantize(D(1).scaleb(-self.r.choice([4, 8, 12, 18])))

    def fees(self, row, amount, price):
        """The fee fields of a fill, and what of them was in the base asset."""
        base, quote = row['pair'].split('-')
        pick = lambda: self.r.choice([base, base, quote, quote, quote, self.r.choice(THIRD)])
        kind = self.r.random()
        if kind < 0.02 * self.scarce: return {}, D(0)  # nobody knows it
        if kind < 0.04: return {'fees': []}, D(0)
        charges = [(asset, self.fee(asset, amount * price, amount, base, quote)) for asset in
                   [pick() for _ in range(self.r.choice([1, 1, 1, 1, 2, 3]))]]
        if row['side'] == 'buy' and self.chance(0.05):  # a minimum fee takes all of a tiny buy, or more
            charges.append((base, amount * self.r.choice([1, 1, 2])))
        in_base = sum((fee for asset, fee in charges if asset == base), D(0))
        if len(charges) == 1 and self.chance(0.9):
            return {'fee': self.number(charges[0][1]), 'fee_asset': charges[0][0]}, in_base
        return {'fees': [{'asset': asset, 'amount': self.number(fee)} for asset, fee in charges]}, in_base

    def fills(self, book, count):
        price, size, price_places, places = PAIRS[book[4]]
        price, size, position, t = D(price), D(size), D(0), self.start + self.r.randrange(self.span // 2 + 1)
        for _ in range(count):
            t = self.moment(t)
            price = self.around(price, 0.01, price_places)
            row = self.row(book) | {'side': self.r.choice(['buy', 'sell'])}
            amount = self.around(size, 0.9, self.r.choice([places, min(places, 2)]))
            closes = position and self.chance(0.2) and len(str(abs(position).normalize()).replace('.', '')) <= 30
            if closes: row['side'], amount = 'sell' if position > 0 else 'buy', abs(position)
            elif position and self.chance(0.06):  # more than there is: crosses zero
                row['side'], amount = 'sell' if position > 0 else 'buy', abs(position).quantize(D(1)) * 2 + 1
            elif self.chance(0.05): amount = D(1).scaleb(-places)
            fees, in_base = self.fees(row, amount, price)
            if closes and self.chance(0.8): fees, in_base = {'fee': '0', 'fee_asset': 'USDT'}, D(0)
            position += (amount if row['side'] == 'buy' else -amount) - (in_base if book[3] == 'spot' else 0)
            self.ids += 1
            row |= {'price': self.number(price), 'amount': self.number(amount)} | fees
            row |= {'liquidity': self.r.choice(['maker', 'maker', 'maker', 'taker', 'unknown']),
                    'order_id': f'o{self.ids // 3}', 'trade_id': f't{self.ids}', 'ts': t}
            if self.chance(0.1): row['mid_at_fill'] = self.number(self.around(price, 0.002, price_places))
            yield row
            if self.chance(0.04): yield row | {'order_id': f'self-{self.ids}'}  # a self-trade: one trade on two orders
            if self.chance(0.02):  # two identities that look like one when joined by a colon
                yield row | {'order_id': 'a:b', 'trade_id': f'c{self.ids}'}
                yield row | {'order_id': 'a', 'trade_id': f'b:c{self.ids}'}

    def told_again(self, rows, changes):
        """Some rows once more, the same or with another content, and the whole not quite in order."""
        out = []
        for row in rows:
            out.append(row)
            if self.chance(0.05): out.append(dict(row))
            if self.chance(0.04): out.append(row | self.r.choice(changes(row)))
        if self.chance(0.5): out.sort(key=lambda row: row['ts'])
        for i in range(len(out)):
            if self.chance(0.08):
                j = self.r.randrange(len(out))
                out[i], out[j] = out[j], out[i]
        return out

    def funding(self, book, first, count):
        for _ in range(count):
            t = first + self.r.choice([-DAY, -HOUR, 0, 1, HOUR, DAY]) * self.r.randint(0, 2)
            base, quote = book[4].split('-')
            self.ids += 1
            amount = D(self.r.randint(-9999, 9999)).scaleb(-self.r.choice([3, 5, 18]))
            asset = self.r.choice([quote, quote, 'USDT', base, self.r.choice(THIRD)])
            said = {'amount': self.number(amount), 'asset': asset, 'funding_id': f'u{self.ids}', 'ts': t}
            yield self.row(book) | said

    def rates(self, assets, pairs):
        """Every way to convert one asset into another is there or not, and they never quite agree."""
        rows, wanted = [], set(pairs)
        for a in assets:
            for b in assets:
                if a != b and self.chance(0.45 if 'USDT' in (a, b) else 0.12): wanted.add(f'{a}-{b}')
        if not self.scarce: wanted |= {self.r.choice([f'{a}-USDT', f'USDT-{a}']) for a in assets if a != 'USDT'}
        for pair in sorted(wanted):
            if self.scarce and self.chance(0.7 if 'XYZ' in pair else 0.12): continue
            worth = [D(WORTH[asset]) for asset in pair.split('-')]
            value, places = worth[0] / worth[1], self.r.choice([8, 12, 18])
            t = self.start - self.r.choice([2 * DAY, DAY + HOUR])
            if self.scarce and self.chance(0.4): t += self.r.randrange(self.span)
            for _ in range(self.r.choice([1, 3, 12, 30])):
                rows.append({'ts': t, 'pair': pair, 'price': self.number(self.around(value, 0.03, places))})
                if self.chance(0.15): rows.append(rows[-1] | {'price': self.number(self.around(value, 0.05, places))})
                t = self.moment(t)
        rows.sort(key=lambda row: row['ts'])
        for i in range(0, len(rows) - 1):
            if self.chance(0.05): rows.append(rows.pop(i))  # arrives late
        return rows

    def transfers(self, client, assets):
        for _ in range(self.r.choice([0, 0, 1, 4])):
            self.ids += 1
            yield {'client': client, 'exchange': self.r.choice(EXCHANGES),
                   'asset': self.r.choice(['USDT', 'USDT'] + assets[:6]),
                   'amount': self.number(self.r.choice([1, -1]) * self.around('500', 0.9, 6)),
                   'transfer_id': f'x{self.ids}', 'ts': self.start + self.r.randrange(self.span)}

    def opening(self, book, first):
        price, size, places, _ = PAIRS[book[4]]
        position = self.r.choice([1, 1, -1]) * self.around(size, 0.9, 3)
        cost = (position * self.around(price, 0.05, places)).quantize(D('1e-18'))
        if self.chance(0.5): cost = cost.quantize(D('0.01')) or D(1).copy_sign(position)  # an average without an end
        return self.row(book) | {'position': self.number(position), 'cost': self.number(cost),
                                 'ts': first - self.r.choice([0, 0, 1, MINUTE, DAY])}

    def write(self, folder):
        books, fills, funding, opening = self.books(), [], [], []
        for book in books:
            alone = fills and self.chance(0.07)  # a book with funding or an opening but no fill
            rows = [] if alone else list(self.fills(book, self.r.randint(2 if fills else 10, 150 // len(books))))
            if rows and self.chance(0.15) and fills:  # ids of another book
                rows[0] = rows[0] | {name: self.r.choice(fills)[name] for name in ('order_id', 'trade_id')}
            first = min((row['ts'] for row in rows), default=self.start + self.r.randrange(self.span))
            fills += rows
            if book[3] == 'perp': funding += self.funding(book, first, self.r.choice([0, 1, 3, 8]) or int(bool(alone)))
            if self.chance(0.2): opening.append(self.opening(book, first))
        other = lambda row: [{'price': self.number(D(row['price']) * 2)}, {'amount': self.number(D(row['amount']) + 1)},
                             {'ts': row['ts'] + 1}, {'liquidity': 'taker'}, {'bot': self.r.choice(books)[1] + '-2'}]
        fills = self.told_again(fills, other)
        funding = self.told_again(funding, lambda row: [{'amount': '77'}, {'asset': 'BNB'}, {'ts': row['ts'] + DAY}])
        assets = sorted({asset for book in books for asset in book[4].split('-')} | set(THIRD))
        transfers = [row for client in self.clients for row in self.transfers(client, assets)]
        transfers = self.told_again(transfers, lambda row: [{'amount': '1'}, {'asset': 'BTC'}])
        os.makedirs(folder, exist_ok=True)
        files = {'fills': fills, 'rates': self.rates(assets, [book[4] for book in books]), 'funding': funding,
                 'transfers': transfers} | ({'opening': opening} if opening else {})
        for name, rows in files.items():
            with open(os.path.join(folder, name + '.jsonl'), 'w', encoding='utf-8') as file:
                file.writelines(json.dumps(row, separators=(',', ':')) + '\n' for row in rows)
        return self.as_of([row['ts'] for row in fills + funding + opening] or [self.start])

    def as_of(self, times):
        kind, some, last = self.r.random(), self.r.choice(times), max(times)
        if kind < 0.15: return some
        if kind < 0.25: return some // MINUTE * MINUTE
        if kind < 0.35: return (some // DAY + 1) * DAY - self.r.choice([0, 1])
        if kind < 0.37: return min(times) - 1
        if kind < 0.50: return last
        return last + self.r.choice([1, 59_999, MINUTE, HOUR, DAY])

if __name__ == '__main__':
    print(Cases(int(sys.argv[1])).write(sys.argv[2]))
