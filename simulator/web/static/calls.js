// The pretend world's JSON calls.

/** Asks under /simulator/api/. Throws an Error whose message is for people. */
export async function call(method, path, body) {
  const answer = await fetch(`/simulator/api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

/** As the page goes away: no answer is waited for. */
export const callLast = (path, body) =>
  navigator.sendBeacon(`/simulator/api/${path}`, JSON.stringify(body));
