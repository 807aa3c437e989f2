"use strict";
// Fetches the page again and puts its middle in place of ours; says so when the station does not answer.
const every = 5000;
async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
    } catch {
      const pill = document.querySelector("#health");
      pill.className = "pill bad";
      pill.textContent = "no connection 无连接";
    }
  }
  setTimeout(refresh, every);
}
setTimeout(refresh, every);
