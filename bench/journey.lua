-- Callers for wrk: one a thread, post after post as a channel's gateway sends them, every answer
-- checked. Run with as many threads as connections: within a thread wrk does not say whose answer
-- came. Argument: a Lua file that returns the plan (bench/load.py writes it).

local plan, caller, journey, hop, filling
local threads = {}

-- Globals: the main state sets number before init(), and reads the others in done().
number, hops, journeys, wrong, example = 0, 0, 0, 0, ""

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local function next_journey()
  caller = caller + plan.threads
  if caller >= plan.last then
    wrk.thread:stop()
  end
  journey, hop = plan.journeys[caller % #plan.journeys + 1], 1
  filling = { caller = caller, phone = string.format("%.0f", plan.phones + caller) }
end

function init(arguments)
  plan = dofile(arguments[1])
  caller = plan.first + number - plan.threads
  next_journey()
  head = "POST " .. plan.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n" ..
    plan.headers .. "Content-Length: "
end

function request()
  local body = journey[hop].body:gsub("%${(%a+)}", filling)
  return head .. #body .. "\r\n\r\n" .. body
end

local function is_right(status, body)
  local begins = journey[hop].begins
  if begins == "" then
    return status == 200 and body == ""
  end
  return status == 200 and body:sub(1, #begins) == begins
end

function response(status, _, body)
  if not is_right(status, body) then
    wrong = wrong + 1
    if example == "" then
      example = hop .. ": " .. status .. " " .. body:sub(1, 60)
    end
    next_journey()
    return
  end
  hops, hop = hops + 1, hop + 1
  if hop > #journey then
    journeys = journeys + 1
    next_journey()
  end
end

function done(summary, latency)
  local hops, journeys, wrong, example = 0, 0, 0, ""
  for _, thread in ipairs(threads) do
    hops = hops + thread:get("hops")
    journeys = journeys + thread:get("journeys")
    wrong = wrong + thread:get("wrong")
    if example == "" then
      example = thread:get("example")
    end
  end
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("\nresult %d %d %d %d %d %d %d %s\n", hops, journeys, wrong, lost,
    summary.duration, latency:percentile(50), latency:percentile(99), (example:gsub("%s", " "))))
end
