// Recent changes as they come; without this the page shows those of when it was made.
"use strict";
(() => {
  const list = document.querySelector("ol.changes");
  const live = document.getElementById("live");
  const most = 50;
  const source = new EventSource("/v1/changes?after=now");
  const tell = (text) => { live.hidden = false; live.textContent = text; };
  source.onopen = () => tell("Live: what changes appears here.");
  source.onerror = () => tell("The connection is lost; it is tried again.");
  source.onmessage = (event) => {
    const change = JSON.parse(event.data);
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = change.changed_at;
    time.textContent = "just now";
    const what = document.createElement("span");
    what.className = "change";
    what.textContent = change.change;
    const link = document.createElement("a");
    link.href = "/records/" + encodeURIComponent(change.kind) + "/" + encodeURIComponent(change._id);
    link.textContent = change._id;
    const fields = document.createElement("span");
    fields.className = "fields";
    fields.textContent = change.fields.join(", ");
    item.append(time, " ", what, " ", link, " ", fields);
    list.prepend(item);
    while (list.children.length > most) list.lastElementChild.remove();
  };
})();
