#!/usr/bin/env python3
"""verify_export.py FILE [--pubkey HEX] [--head SEQ:HASH]: verifies the export of a client's history.

One event a line, a head at the end, each in its one RFC 8785 spelling. Prints `ok: ...`, or `bad line N: reason` and
exits 1. Nothing in the file is trusted: learn the public key, or a place and its chain hash, from elsewhere.
"""
import argparse, hashlib, json, math, re, struct, sys
from datetime import datetime, timedelta
from decimal import Decimal

ANY, TEXT, WHOLE, HASH, ID = None, '(?s).*', float, '[0-9a-f]{64}', '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'
TIME = '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z'
CONTENT = {'aggregate_id': TEXT, 'aggregate_type': TEXT, 'client_id': ID, 'event_id': ID, 'event_type': TEXT,
           'event_version': TEXT, 'metadata': ANY, 'occurred_at': TIME, 'payload': ANY}
EVENT = CONTENT | {'client_seq': WHOLE, 'aggregate_seq': WHOLE, 'recorded_at': TIME} | dict.fromkeys(
    ('content_hash', 'chain_hash'), HASH)

def need(true, reason):
    if not true: raise ValueError(reason)

def number(x):
    """A double as ECMAScript writes it."""
    if x == 0: return '0'
    sign, digits, exponent = Decimal(repr(x)).normalize().as_tuple()
    sign, digits, point = '-' * sign, ''.join(map(str, digits)), len(digits) + exponent
    if len(digits) <= point <= 21: return sign + digits.ljust(point, '0')
    if 0 < point <= 21: return f'{sign}{digits[:point]}.{digits[point:]}'
    if -6 < point <= 0: return f'{sign}0.{"0" * -point}{digits}'
    return f'{sign}{digits[0]}{"." * (len(digits) > 1)}{digits[1:]}e{point - 1:+d}'

def canonical(value, depth=1):
    """RFC 8785: keys in the order of their UTF-16, no space, one way to write each text and number."""
    if isinstance(value, float): return number(value)
    if not isinstance(value, (dict, list)): return json.dumps(value, ensure_ascii=False)
    need(depth < 128, 'is nested too deeply')
    if isinstance(value, list): return '[' + ','.join(canonical(item, depth + 1) for item in value) + ']'
    keys = sorted(value, key=lambda key: key.encode('utf-16-be', 'surrogatepass'))
    return '{' + ','.join(canonical(key) + ':' + canonical(value[key], depth + 1) for key in keys) + '}'

def read(text):
    """What stands on a line, if it is spelt in the one right way. Every number comes as a double."""
    def once(pairs): return need(len(dict(pairs)) == len(pairs), 'has a field twice') or dict(pairs)
    def finite(token): return need(math.isfinite(float(token)), 'holds a number that is no double') or float(token)
    value = json.loads(text, object_pairs_hook=once, parse_int=finite, parse_float=finite, parse_constant=finite)
    return need(canonical(value) == text, 'is not spelt in its one canonical form') or value

def check(value, form):
    need(isinstance(value, dict) and set(value) == set(form), 'does not have exactly the fields that it should')
    for name, is_a in form.items():
        right = is_a is ANY or isinstance(value[name], float if is_a is WHOLE else str)
        need(right and (is_a in (ANY, WHOLE) or re.fullmatch(is_a, value[name])), f'{name} is not what it should be')

def micros(time):
    return (datetime.fromisoformat(time) - datetime.fromisoformat('1970-01-01T00Z')) // timedelta(microseconds=1)

# Ed25519: the field, the order of the base point, the curve's constant
P, L, D = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493, -121665 * pow(121666, -1, 2**255 - 19)

def add(a, b):
    k = D * a[0] * b[0] * a[1] * b[1]
    return (a[0] * b[1] + a[1] * b[0]) * pow(1 + k, -1, P) % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P

def times(n, point):
    half = times(n // 2, add(point, point)) if n else (0, 1)
    return add(half, point) if n % 2 else half

def point_of(raw):
    """Refuses what is no point, is not spelt in the one right way, or is of small order."""
    sign, y = raw[31] >> 7, int.from_bytes(raw, 'little') % 2**255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    x = next((x for x in (root, root * pow(2, (P - 1) // 4, P) % P) if (x * x - square) % P == 0), None)
    point = (x if x is None or x % 2 == sign else P - x, y)
    need(y < P and x is not None and times(8, point) != (0, 1), 'a key or signature holds no point of full order')
    return point

def check_signature(key, message, signature):
    challenge = hashlib.sha512(signature[:32] + key + message).digest()
    s, k = int.from_bytes(signature[32:], 'little'), int.from_bytes(challenge, 'little') % L
    right = add(point_of(signature[:32]), times(k, point_of(key)))
    need(s < L and times(s, point_of(b'\x58' + b'\x66' * 31)) == right, 'the head is not signed by the given key')

def verify(file, key, pin, at):
    """Verifies an open file; at[0] tells the line that it is at."""
    client, seq, tip, before, versions = None, 0, bytes(32), -math.inf, {}
    while True:
        need(pin is None or pin[0] != seq or pin[1] == tip, f'the chain hash at {seq} is not the one that you gave')
        at[0], raw = seq + 1, file.readline()
        need(raw.endswith(b'\n'), 'the file ends here, without its head')
        line = read(raw[:-1].decode())
        if raw.startswith(b'{"head":'): break
        check(line, EVENT)
        client, aggregate = client or line['client_id'], (line['aggregate_type'], line['aggregate_id'])
        version, now, _ = versions.get(aggregate, 0) + 1, micros(line['recorded_at']), micros(line['occurred_at'])
        need(line['client_id'] == client, 'belongs to another client than the lines before it')
        need(line['client_seq'] == seq + 1, f'does not have the client_seq that belongs here, {seq + 1}')
        need(line['aggregate_seq'] == version, f'does not have the aggregate_seq that belongs here, {version}')
        need(now >= before, 'was recorded before the event that stands before it')
        content = hashlib.sha256(canonical({name: line[name] for name in CONTENT}).encode()).digest()
        need(content.hex() == line['content_hash'], 'its content does not have the hash that it states')
        tip = hashlib.sha256(tip + struct.pack('>QQq', seq + 1, version, now) + content).digest()
        need(tip.hex() == line['chain_hash'], 'its chain hash does not follow from the event before it')
        seq, before, versions[aggregate] = seq + 1, now, version
    check(line, {'head': ANY, 'public_key': ANY, 'signature': ANY})
    check(head := line['head'], {'client_id': ID, 'seq': WHOLE, 'chain_hash': HASH, 'at': TIME})
    for name in ('public_key', 'signature'): need(isinstance(line[name], (str, type(None))), f'{name} is no text')
    need(client in (None, head['client_id']), 'the head is of another client')
    need((head['seq'], head['chain_hash']) == (seq, tip.hex()), f'the head speaks of another event than {seq}')
    need(micros(head['at']) >= before, 'the head is older than the last event')
    need(pin is None or pin[0] <= seq, f'the file ends at {seq}, before the place that you gave')
    if key:
        need(line['public_key'] == key.hex(), 'the head does not name the key that you gave')
        need(re.fullmatch('[0-9a-f]{128}', line['signature'] or ''), 'the head is not signed')
        check_signature(key, b'pipelabs-head-v1\n' + canonical(head).encode(), bytes.fromhex(line['signature']))
    at[0] += 1
    need(not file.read(1), 'something stands after the head')
    checked = 'checked' if key else 'not checked'
    return f'ok: {seq} events of client {head["client_id"]}, head {seq}:{tip.hex()}, signature {checked}'

if __name__ == '__main__':
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('file')
    options.add_argument('--pubkey', type=lambda text: bytes.fromhex(re.fullmatch(HASH, text)[0]))
    options.add_argument('--head', type=lambda text: re.fullmatch(f'([0-9]+):({HASH})', text).groups())
    given, at = options.parse_args(), [1]
    try:
        with open(given.file, 'rb') as file:
            print(verify(file, given.pubkey, given.head and (int(given.head[0]), bytes.fromhex(given.head[1])), at))
    except (ValueError, RecursionError, OSError) as reason:
        sys.exit(print(f'bad line {at[0]}: {ascii(str(reason))[1:-1]}') or 1)
