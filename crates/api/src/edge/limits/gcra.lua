-- Takes a place in every bucket, or in none.
-- KEYS: the buckets. ARGV: for each how many microseconds a place takes to come back, and how many places it has.
-- A bucket is the moment at which all its places are free again; one of which that is past need not be kept.
-- Returns the microseconds to wait, 0 if the places were taken, and what is left in each.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local free_at, answer = {}, {0}
for i = 1, #KEYS do
  local every, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local from = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  free_at[i] = from + every
  local room = now + every * burst - free_at[i]
  -- Microseconds of this century have no exact fractions in a double.
  if room < -1 then answer[1] = math.max(answer[1], math.ceil(-room)) end
  answer[i + 1] = math.max(0, math.floor(room / every))
end
if answer[1] == 0 then
  for i = 1, #KEYS do
    local kept_ms = math.max(1, math.ceil((free_at[i] - now) / 1000))
    redis.call('SET', KEYS[i], string.format('%.3f', free_at[i]), 'PX', kept_ms)
  end
end
return answer
