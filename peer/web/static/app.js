// The page of `peer web`. Whatever others chose (names, metrics, reasons) becomes text nodes, never markup.
"use strict";

const main = document.getElementById("main");
const link = document.getElementById("link");
const CID = /^baf[a-z2-7]{56}$/;
let shown = null;       // what is on the page: {path, update, fit, recolour}
let busy = false;       // whether an update is on its way
let again = false;      // whether something has changed meanwhile

// -- making elements ------------------------------------------------------------------------------------------------

function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

const bdi = (text) => el("bdi", {}, String(text));
const label = (cid) => cid.slice(0, 14);
const cidLink = (cid) => el("a", { class: "cid", href: `#/block/${cid}`, title: cid }, label(cid));

function facts(pairs) {
  const list = el("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(el("dt", {}, name), el("dd", {}, value));
  }
  return list;
}

function table(caption, header, rows) {
  const head = el("tr", {}, header.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) => el("tr", {}, row.map((cell) => (cell instanceof HTMLTableCellElement ? cell : el("td", {}, cell)))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, body)));
}

// Put newer content in a place, if it differs, and leave the keyboard where it was.
function swap(place, ...nodes) {
  const newer = el("div", {}, nodes);
  if (newer.innerHTML === place.innerHTML) return;
  const inside = () => [...place.querySelectorAll("a, button, [tabindex]")];
  const at = inside().indexOf(document.activeElement);
  place.replaceChildren(...newer.childNodes);
  if (at >= 0) inside()[at]?.focus({ preventScroll: true });
}

// -- words ----------------------------------------------------------------------------------------------------------

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d`;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let number = bytes;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (Math.abs(number) < 999.5) return `${Number(number.toPrecision(3))} ${unit}`;
    number /= 1000;
  }
  return `${Number(number.toPrecision(3))} TB`;
}

const contents = (count) => (count === 1 ? "1 content" : `${count} contents`);
const moment = (seconds) => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toLocaleString();
};
const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : "");
const measured = (pairs) => pairs.filter(([name]) => name !== "num-examples").map(([name, value]) => `${name} ${number(value)}`).join(", ");

const LACKS = {
  "app": "its app process to start", "app-files": "the files of the run's app", "approval": "its owner to approve the run's app",
  "past": "others to say what they have of ours", "clients": "more clients", "replies": "answers", "close-heard": "clients to verify the last record", "kept": "keepers to have all of the run",
  "server": "a run: no server that leads one is heard", "run": "a server to begin a run", "records": "the run's records", "room": "room on the disk: peer du, peer keep, peer forget", "roster": "the leader to take up the newest manifest",
  "content": "the content of a message", "witnesses": "other servers to recompute what is to be trained on",
  "voters": "more than half of the run's voters to be heard",
};

const OF = {
  "past": (whom) => `${whom} to say what they have of ours`, "close-heard": (whom) => `${whom} to verify the last record`, "kept": (whom) => `${whom} to have all of the run`,
  "witnesses": (whom) => `${whom} to recompute what clients train on`,
};

const NO_TAKEOVER = {
  "other-server": () => "the federation has no other server",
  "standby": () => "no other server stands by (peer start --role server --standby)",
  "voters": (told) => `besides the leader, ${told.here} of ${told.of} voters are here, and ${told.needed} are needed`,
  "fitness": (told) => `this server could not lead the run: ${told.why}`,
};

function takeover(told) {
  if (told.lack === null) return `possible: ${told.here} of ${told.of} voters are here besides the leader`;
  const why = `not possible: ${NO_TAKEOVER[told.lack](told)}`;
  return told.lack === "other-server" ? why : el("span", { class: "warn" }, bdi(why));
}

function waiting(wait, now) {
  let what = LACKS[wait.lack] || wait.lack;
  if (wait.lack === "clients") what = wait.needed === null ? `more clients than the ${wait.here} that are here, as its app asks` : `clients: ${wait.here} of ${wait.needed} are here`;
  else if (wait.whom.length) what = (OF[wait.lack] || ((whom) => `${what} of ${whom}`))(`${wait.whom.slice(0, 5).join(", ")}${wait.whom.length > 5 ? ` and ${wait.whom.length - 5} more` : ""}`);
  if (wait.lack === "replies" && wait.needed !== null) what += `: ${wait.here} of the ${wait.needed} that are enough`;
  if (wait.lack === "witnesses" && wait.needed !== null) what += `: ${wait.here} of ${wait.needed} have`;
  if (wait.until !== null) what += `, at most ${duration(wait.until - now)} more`;
  return what;
}

function lateness(told) {
  if (!told) return "";
  const row = told.in_a_row > 1 ? `, the last ${told.in_a_row} in a row` : "";
  return `left out ${told.left_out} times${row}${told.late ? `, ${told.late} came late` : ""}`;
}

function bestNow({ by, round, value, resumed }) {
  const [, metric, direction] = by.match(/^(.*):(min|max)$/s), since = resumed ? " since it went on" : "";
  if (value === null) return bdi(`none yet${since}, by ${metric}`);
  return bdi(`${round === null ? "" : `round ${round}: `}${metric} ${number(value)}, the ${direction === "min" ? "smallest" : "largest"} mean${since}`);
}

function bestModel({ metric, direction, exchange, round, value }) {
  if (exchange === null) return bdi(`none yet: no exchange has a mean of ${metric}`);
  const which = round === null ? `exchange ${exchange}` : `round ${round}`;
  return bdi(`the model sent in ${which}: ${metric} ${number(value)}, the ${direction === "min" ? "smallest" : "largest"} mean`);
}

// -- asking ---------------------------------------------------------------------------------------------------------

async function ask(path) {
  const response = await fetch(path, { credentials: "same-origin" });
  if (response.status === 403) throw new Error("this page may not ask any more: open the newest link that peer web printed");
  const value = await response.json();
  if (!response.ok) throw new Error(value.fix ? `${value.error}; fix: ${value.fix}` : value.error);
  return value;
}

// -- now ------------------------------------------------------------------------------------------------------------

const DOING = { here: "good", working: "good", away: "warn", left: "warn", unheard: "quiet", refusing: "bad", distrusted: "bad" };

function partPanel(part, status) {
  const role = part.role, run = role.run, federation = part.federation;
  const panel = el("section", { class: "panel" });
  const told = role.recomputed, keeps = role.keeps;
  panel.append(el("h2", {}, `${role.recomputed ? "standby" : role.role} in `, bdi(federation.name || label(federation.id))));
  let progress = null;
  if (run && run.round !== null) {
    const of = run.rounds === null ? "" : ` of ${run.rounds}`;
    progress = [`${run.round}${of}`, run.rounds ? el("progress", { max: run.rounds, value: Math.min(run.round, run.rounds), "aria-label": "rounds" }) : null];
  }
  panel.append(facts([
    ["run", run ? [el("a", { href: `#/run/${run.run}`, class: "cid", title: run.run }, label(run.run)), run.app ? [" ", bdi(run.app)] : null, `, ${run.closed ? "closed" : "open"} at height ${run.height}`].flat(2) : null],
    ["stays", run && run.keep ? el("code", {}, run.keep) : null],
    ["closes by", run && run.closing ? el("code", {}, run.closing) : null],
    ["term", run && run.term > 1 ? [`${run.term}`, run.leader ? [", led by ", bdi(run.leader)] : null].flat(2) : null],
    ["round", progress],
    ["best", run && run.best ? bestNow(run.best) : null],
    ["mean", role.means.length ? bdi(measured(role.means)) : null],
    ["gave", role.answers ? bdi(`${role.answers.count} answers, last in ${number(role.answers.seconds)} s: ${measured(role.answers.metrics)}`) : null],
    ["recomputed", told ? `${told.exchanges} exchanges as the server did${told.height === null ? "" : `, up to height ${told.height}`}${told.undecided ? `, and ${told.undecided} of which this machine cannot tell` : ""}` : null],
    ["otherwise", role.recomputed && role.recomputed.contradicted !== null ? el("span", { class: "bad" }, `computed something else at height ${role.recomputed.contradicted}, and signs that`) : null],
    ["untold", role.recomputed && role.recomputed.why ? bdi(role.recomputed.why) : null],
    ["takeover", role.takeover ? takeover(role.takeover) : null],
    ["witnesses", role.witnesses.length ? role.witnesses.map((each) => el("div", {}, bdi(each.name), " is ", el("span", { class: DOING[each.doing] }, each.doing),
      each.height === null ? ", and has recomputed nothing yet" : `, and has recomputed up to height ${each.height}`)) : null],
    ["works", role.work ? bdi(`on a ${role.work.type} message, for ${duration(status.at - role.work.since)}`) : null],
    ["keeps", keeps ? `runs: ${keeps.open} open, ${keeps.whole} closed and whole${keeps.incomplete ? `, ${keeps.incomplete} closed and not whole yet` : ""}` : null],
    ["lacks", keeps && keeps.lacking ? el("span", { class: "warn" }, `${contents(keeps.lacking)} not here yet`) : null],
    ["waits for", role.waits.length ? role.waits.map((wait) => el("div", wait.lack === "room" ? { class: "bad" } : {}, bdi(waiting(wait, status.at)))) : null],
    ["no part", role.refuses ? el("span", { class: "bad" }, bdi(role.refuses)) : null],
    ["offline", role.offline ? el("span", { class: "bad" }, "the engine does not answer") : null],
  ]));
  if (role.members.length) {
    const rows = role.members.map((member) => [
      bdi(member.name), el("span", { class: DOING[member.doing] }, member.doing),
      member.heard === null ? "" : `${duration(status.at - member.heard)} ago`,
      member.answers ? `${member.answers.count}` : "", member.answers ? `${number(member.answers.seconds)} s` : "",
      el("td", { class: "reason" }, bdi(member.why || [lateness(member.lateness), member.answers ? measured(member.answers.metrics) : ""].filter(Boolean).join("; "))),
    ]);
    panel.append(table(`${role.here} of ${role.of} ${role.role === "keeper" ? "members" : role.role === "server" && !role.recomputed ? "clients" : "servers"} are here`,
      ["member", "does", "heard", "answers", "last took", "measured, or why not"], rows));
  }
  if (part.trouble.length) {
    panel.append(table("Trouble lately", ["when", "what"], part.trouble.slice().reverse().map((each) => [moment(each.at), el("td", { class: "reason" }, bdi(each.text))])));
  }
  return panel;
}

async function now() {
  const status = await ask("api/status");
  const page = [el("h1", {}, status.running ? "A peer runs with this home" : "No peer runs with this home")];
  if (status.trouble) page.push(el("p", { class: "bad" }, bdi(`${status.trouble}; fix: ${status.fix}`)));
  const waits = (status.waits || []).map((each) => el("li", {}, bdi(each)));
  if (waits.length) page.push(el("section", { class: "panel" }, el("h2", {}, "Waits for you"), el("ul", {}, ...waits)));
  for (const part of status.parts) page.push(partPanel(part, status));
  if (!status.parts.length) page.push(el("p", {}, "It has no run."));
  const health = status.health;
  if (health) {
    page.push(el("section", { class: "panel" }, el("h2", {}, "Engine"), facts([
      ["engine", health.engine ? bdi(`${status.engine}: ${health.engine.kind} ${health.engine.version}`) : el("span", { class: "bad" }, bdi(`does not answer: ${health.trouble}`))],
      ["others", health.engine ? `connected to ${health.engine.peers} engines, ${size(health.engine.bytes_sent)} sent` : null],
      ["disk", `${health.engine ? `${size(health.engine.bytes_stored)} stored, ` : ""}${size(health.grown)} more in ${duration(health.at - health.since)}, ${size(health.free)} free`],
    ])));
  }
  return page;
}

// -- runs -----------------------------------------------------------------------------------------------------------

async function runs() {
  const found = await ask("api/runs");
  const rows = found.runs.map((run) => [  // what is asked for most comes first: a narrow page shows that much
    run.name, el("a", { href: `#/run/${run.run}`, class: "cid", title: run.run }, label(run.run)),
    run.shredded ? `${run.state}, shredded` : run.closed ? el("span", run.state === "failed" ? { class: "bad" } : {}, run.state) : el("span", { class: "good" }, run.state),
    run.round === null ? "" : String(run.round), run.role, bdi(run.federation), String(run.height), moment(run.updated),
  ]);
  return [el("h1", {}, "Runs of this home"), rows.length ? table("The last changed first", ["name", "run", "state", "round", "role", "federation", "height", "changed"], rows)
    : el("p", {}, "There is no run here yet.")];
}

const COLOURS = ["#0b5cad", "#b3261e", "#17703b", "#8a5300", "#6a3fa0", "#00838f", "#ad1457", "#5d7a00", "#455a64", "#d84315"];
const DARK = ["#7db7f5", "#f28b82", "#6fce94", "#e9b25c", "#c3a6f0", "#5fd3dd", "#f48fb1", "#c5d96a", "#b0bec5", "#ffab91"];

const STEPS = [1, 2, 5].flatMap((each) => [0, 1, 2, 3, 4, 5, 6, 7].map((power) => each * 10 ** power)).sort((a, b) => a - b);

const darkness = matchMedia("(prefers-color-scheme: dark)");

class Chart {
  constructor(metric) {
    this.figure = el("figure", {}, el("figcaption", {}, bdi(metric.name)));
    this.latest = el("p", { class: "quiet" });
    this.range = el("p", { class: "quiet", role: "status" });
    this.box = el("div", { role: "img", tabindex: "0", "aria-describedby": "zoom", "aria-keyshortcuts": "+ - ArrowLeft ArrowRight 0" });
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.figure.append(this.box, this.range, this.latest);
    this.plot = null;
    this.key = "";
  }

  show({ curves, ...metric }) {
    this.shown = { curves, ...metric };
    metric.curves = [...curves.filter((curve) => curve.who !== ""), ...curves.filter((curve) => curve.who === "")];
    const names = metric.curves.map((curve) => curve.who);  // the mean comes last: what is drawn last lies on top
    const key = JSON.stringify([darkness.matches, names]);
    const data = [metric.x, ...metric.curves.map((curve) => curve.y)];
    const zoomed = this.plot && this.zoomed();
    if (this.plot === null || this.key !== key) {
      if (this.plot) this.plot.destroy();
      const colours = darkness.matches ? DARK : COLOURS;
      const style = getComputedStyle(document.documentElement);
      const lines = { stroke: style.getPropertyValue("--line"), width: 1 };
      const axis = { stroke: style.getPropertyValue("--quiet"), grid: lines, ticks: lines };
      const series = names.map((who, at) => ({
        label: who === "" ? "mean" : who, stroke: colours[who === "" ? 0 : 1 + (at % (colours.length - 1))], width: who === "" ? 2.5 : 1,
        spanGaps: true, points: { show: metric.x.length < 60, size: 5 },
        value: (_, value) => (value === null ? "" : number(value)),
      }));
      this.plot = new uPlot({
        width: this.width(), height: 240, scales: { x: { time: false } }, axes: [{ ...axis, incrs: STEPS }, { ...axis, size: 64 }],
        hooks: { setScale: [(_, scale) => { if (scale === "x") this.sayRange(); }] },
        series: [{ label: "round" }, ...series], legend: { show: names.length <= 12 }, cursor: { drag: { x: true, y: false } },
      }, data, this.box);
      this.key = key;
    } else {
      this.plot.setData(data);
    }
    if (zoomed) this.plot.setScale("x", zoomed);
    const last = curves.map((curve) => {
      const at = curve.y.findLastIndex((value) => value !== null);
      return at < 0 ? null : `${curve.who === "" ? "mean" : curve.who} ${number(curve.y[at])}`;
    }).filter((text) => text !== null);
    const words = `latest: ${last.slice(0, 8).join(", ")}${metric.left_out ? ` (${metric.left_out} curves are left out)` : ""}`;
    this.latest.replaceChildren(bdi(words));
    this.box.setAttribute("aria-label", `Curves of ${metric.name} over ${metric.points} rounds; ${words}`);
  }

  // What a mouse does by dragging: nearer or farther by a half, a quarter of it to the side, or all of it.
  pressed(event) {
    const steps = this.plot.data[0], { min, max } = this.plot.scales.x;
    const least = steps[0], most = steps[steps.length - 1], wide = max - min;
    const move = { "+": [wide / 4, -wide / 4], "=": [wide / 4, -wide / 4], "-": [-wide / 2, wide / 2], ArrowLeft: [-wide / 4, -wide / 4], ArrowRight: [wide / 4, wide / 4] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || steps.length < 2 || !(move || event.key === "0")) return;
    event.preventDefault();
    let [from, to] = move ? [min + move[0], max + move[1]] : [least, most];
    if (move && to - from < 1) return;
    if (from < least) [from, to] = [least, Math.min(most, to + (move[0] === move[1] ? least - from : 0))];
    if (to > most) [from, to] = [Math.max(least, from - (move[0] === move[1] ? to - most : 0)), most];
    this.plot.setScale("x", { min: from, max: to });
  }

  sayRange() {
    const zoomed = this.plot && this.zoomed();
    const words = zoomed ? `rounds ${number(zoomed.min)} to ${number(zoomed.max)} are shown` : "";
    if (this.range.textContent !== words) this.range.textContent = words;
  }

  zoomed() {
    const { x } = this.plot.scales, steps = this.plot.data[0];
    return x.min > steps[0] || x.max < steps[steps.length - 1] ? { min: x.min, max: x.max } : null;
  }

  width() { return Math.max(240, (this.figure.clientWidth || 420) - 18); }
  fit() { if (this.plot) this.plot.setSize({ width: this.width(), height: 240 }); }
}

const BEHIND = 100;     // records; a page that follows a run is always a few behind

class RunPage {
  constructor(run) {
    this.run = run;
    this.charts = new Map();
    this.before = { rounds: null, records: null };
    this.parts = Object.fromEntries(["head", "charts", "failures", "rounds", "records"].map((name) => [name, el("div", name === "charts" ? { class: "charts" } : {})]));
    this.title = el("h1");
    this.empty = el("p", { class: "quiet" }, "No numbers yet.");
    this.more = el("p", { class: "quiet" });
    this.zoom = el("p", { class: "quiet", id: "zoom" }, "Drag over a chart to zoom in, double-click to see all of it. With the keyboard: Tab to a chart, + and - zoom, the arrows move, 0 shows all of it.");
  }

  async first() {
    await this.update(true);
    return [this.title, this.parts.head, el("h2", {}, "Curves"), this.zoom, this.empty, this.parts.charts, this.more, el("h2", {}, "Refused and failed"), this.parts.failures,
      el("h2", {}, "Rounds"), this.parts.rounds, el("h2", {}, "Chain"), this.parts.records];
  }

  async update(all) {
    const path = `api/runs/${this.run}`;
    const [about, curves] = await Promise.all([ask(path), ask(`${path}/curves`)]);
    swap(this.title, "Run ", about.name || el("span", { class: "cid" }, label(this.run)));
    swap(this.parts.head, this.head(about));
    this.zoom.hidden = curves.metrics.length === 0;
    this.empty.hidden = curves.metrics.length > 0 || about.known > about.height;
    this.more.textContent = curves.left_out ? `${curves.left_out} more metrics are not drawn.` : "";
    const draw = () => curves.metrics.forEach((metric) => {
      let chart = this.charts.get(metric.name);
      if (!chart) {
        chart = new Chart(metric);
        this.charts.set(metric.name, chart);
        this.parts.charts.append(chart.figure);
      }
      chart.show(metric);
    });
    if (all) requestAnimationFrame(draw); else draw();
    swap(this.parts.failures, this.failures(about.failures));
    if (all || this.before.rounds === null) await this.page("rounds");
    if (all || this.before.records === null) await this.page("records");
  }

  head(about) {
    const behind = about.known - about.height > BEHIND && !about.trouble;
    const confirmed = about.confirmed.length ? table("Who has confirmed the chain, and up to which record", ["member", "height", "recomputed"],
      about.confirmed.map((each) => [bdi(each.who), `${each.height} of ${about.height}`, each.recomputed])) : null;
    return el("section", { class: "panel" }, facts([
      ["app", bdi(about.app)], ["federation", bdi(about.federation)], ["server", bdi(about.leader)],
      ["terms", about.reigns.length ? el("ul", {}, ...about.reigns.map((each) => el("li", {}, bdi(each.words)))) : null],
      ["witnesses", about.witnesses ? `${about.witnesses === 1 ? "1 server" : `${about.witnesses} servers`} besides the leader, before clients train` : null],
      ["settled", about.settled === null ? null : about.settled === about.height ? "all of it, a majority has confirmed it" : `up to record ${about.settled} of ${about.height}`],
      ["state", about.closed ? "closed" : el("span", { class: "good" }, "open")],
      ["exchanges", about.newest ? `${about.exchanges}${about.newest.round === null ? "" : `, round ${about.newest.round}`}` : behind ? null : "none is complete yet"],
      ["reading", behind ? [el("div", {}, about.height < 1 ? `${about.met} of ${about.known} records are read, none is verified yet`
        : `record ${about.height} of ${about.known} is verified: what follows is not shown yet`),
        el("progress", { max: 2 * about.known, value: 2 * about.height + about.met, "aria-label": "how far the run is read" })] : null],
      ["best", about.best ? bestModel(about.best) : null],
      ["stays", about.keep ? el("code", {}, about.keep) : null],
      ["an exchange closes", about.closing || null],
      ["not kept", about.dropped ? `${contents(about.dropped)}, dropped here by policy` : null],
      ["shredded", about.shredded ? el("span", { class: "warn" }, bdi(about.shredded)) : null],
      ["mean", about.newest ? bdi(measured(Object.entries(about.newest.means))) : null],
      ["head", about.head ? cidLink(about.head) : null], ["run", cidLink(about.run)],
      ["trouble", about.trouble ? el("span", { class: "bad" }, bdi(about.trouble)) : null],
      ["report", el("a", { href: `runs/${this.run}/report` }, "the report of this run")],
    ]), confirmed);
  }

  failures(failures) {
    if (!failures.length) return el("p", { class: "quiet" }, "Nothing was refused, and nothing has failed.");
    return table("The newest first", ["round", "member", "what", "reason", "reply"], failures.map((each) => [
      each.round === null ? `exchange ${each.exchange}` : String(each.round), bdi(each.who),
      each.left_out ? el("span", { class: "warn" }, "left out") : each.refused ? el("span", { class: "bad" }, "refused") : "failed", el("td", { class: "reason" }, bdi(each.reason)), each.reply ? cidLink(each.reply) : "",
    ]));
  }

  async page(what) {
    const before = this.before[what];
    const found = await ask(`api/runs/${this.run}/${what}${before === null ? "" : `?before=${before}`}`);
    const byOthers = found.recomputed, ledByOthers = found.changed;
    const rows = what === "rounds" ? found.rows.map((row) => [
      String(row.number), row.round === null ? "" : String(row.round), moment(row.time), row.types, `${row.answered} of ${row.asked}`,
      row.failed > row.left_out ? el("span", { class: "bad" }, String(row.failed - row.left_out)) : "",
      row.left_out ? el("span", { class: "warn" }, String(row.left_out)) : "", row.late ? String(row.late) : "", el("td", { class: "reason" }, bdi(measured(Object.entries(row.means)))),
      ...(ledByOthers ? [[bdi(row.leader), ` (${row.term})`]] : []), ...(byOthers ? [recomputedBy(row)] : []), cidLink(row.dispatch),
    ]) : found.rows.map((row) => [String(row.height), row.type, moment(row.time), cidLink(row.cid)]);
    const header = what === "rounds" ? ["exchange", "round", "sent", "type", "answered", "failed", "left out", "late", "mean", ...(ledByOthers ? ["leader (term)"] : []), ...(byOthers ? ["recomputed by"] : []), "record"] : ["height", "type", "time", "record"];
    const last = found.rows.length ? (what === "rounds" ? found.rows[found.rows.length - 1].number : found.rows[found.rows.length - 1].height) : null;
    const newest = el("button", { type: "button", disabled: before === null }, "Newest");
    const older = el("button", { type: "button", disabled: !found.more }, "Older");
    newest.addEventListener("click", () => { this.before[what] = null; this.page(what).catch(fail); });
    older.addEventListener("click", () => { this.before[what] = last; this.page(what).catch(fail); });
    swap(this.parts[what], table("The newest first", header, rows), el("div", { class: "pager" }, newest, older));
  }
}

function recomputedBy({ recomputed_by: equal, contradicted_by: otherwise }) {
  if (!equal.length && !otherwise.length) return el("span", { class: "quiet" }, "nobody");
  return [...equal.map((name) => el("div", {}, bdi(name))), ...otherwise.map((name) => el("div", { class: "bad" }, bdi(name), ": otherwise"))];
}

// -- blocks, federation, disk ---------------------------------------------------------------------------------------

function tree(value) {
  if (value === null) return el("span", { class: "quiet" }, "none");
  if (typeof value === "string") return CID.test(value) ? cidLink(value) : el("code", {}, bdi(value));
  if (typeof value !== "object") return el("code", {}, String(value));
  const entries = Array.isArray(value) ? value.map((each, at) => [String(at), each]) : Object.entries(value);
  if (!entries.length) return el("span", { class: "quiet" }, "nothing");
  return el("ul", { class: "tree" }, entries.map(([name, each]) => el("li", {}, el("span", { class: "quiet" }, bdi(name), ": "), tree(each))));
}

async function block(cid) {
  const found = await ask(`api/blocks/${cid}`);
  return [el("h1", {}, "Block ", el("span", { class: "cid" }, cid)), el("section", { class: "panel" }, tree(found.block))];
}

async function federation() {
  const found = await ask("api/federations");
  const page = [el("h1", {}, "Federation")];
  for (const each of found.federations) {
    page.push(el("section", { class: "panel" }, el("h2", {}, bdi(each.name || label(each.id))), facts([
      ["id", el("code", {}, each.id)], ["manifest", [`version ${each.version}, `, cidLink(each.manifest)]], ["encrypted", each.encrypted ? "yes" : "no"],
      ["changes", `take ${each.threshold} of ${each.admins} admins`], ["bootstrap", each.bootstrap.length ? each.bootstrap.map((address) => el("div", {}, el("code", {}, address))) : null],
    ]), table(each.members.length === 1 ? "1 member" : `${each.members.length} members`, ["member", "roles"], each.members.map((member) => [bdi(member.name), member.roles.join(", ")])),
    each.waits.length ? [el("h3", {}, "Waits for an admin"), el("ul", {}, each.waits.map((wait) => el("li", {}, bdi(wait))))] : null,
    each.shredded.length ? table("Shredded runs", ["run", "shredded", "keys destroyed, members say"], each.shredded.map((run) => [
      el("span", { class: "cid", title: run.run }, label(run.run)), el("td", { class: "reason" }, bdi(run.what)), `${run.destroyed} of ${run.of}`])) : null));
  }
  if (!found.federations.length) page.push(el("p", {}, "This home is in no federation."));
  return page;
}

const BUDGETS = { disk: "what the disk has, but for a rest", none: "none: runs may fill the disk" };

async function disk() {
  const found = await ask("api/disk");
  return [el("h1", {}, "Disk"), el("section", { class: "panel" }, facts([
    ["home", size(found.home)], ["engine's blocks", size(found.stored)], ["grown", found.grown === null ? "" : `${size(found.grown)} since ${moment(found.since)}`], ["free", size(found.free)],
    ["runs", found.used === undefined ? "" : size(found.used)], ["budget", found.budget === undefined ? "" : BUDGETS[found.budget] || found.budget],
    ["stays", found.plan === undefined ? "" : found.plan === "default" ? "everything, as long as there is room" : el("code", {}, found.plan)],
  ])), found.runs && found.runs.length ? table("Each run, when last counted", ["name", "run", "role", "records", "app", "models", "updates", "not kept by policy"], found.runs.map((run) => [
    run.name, el("a", { href: `#/run/${run.run}`, class: "cid", title: run.run }, label(run.run)), run.role,
    ...(run.records === null ? ["not counted yet", "", "", ""] : [run.records, run.app, run.models, run.updates].map(size)), run.dropped ? contents(run.dropped) : "",
  ])) : null, el("p", { class: "quiet" }, "peer du counts anew; peer keep says what stays.")].filter((each) => each !== null);
}

// -- going from page to page ----------------------------------------------------------------------------------------

function fail(error) {
  link.textContent = "";
  main.replaceChildren(el("h1", {}, "That cannot be shown"), el("p", { class: "bad" }, bdi(error.message)));
}

async function go() {
  const path = location.hash.slice(1) || "/";
  const [, where, what] = path.split("/");
  document.querySelectorAll("nav a").forEach((each) => {
    const is = each.getAttribute("href").slice(1) === (where === "run" ? "/runs" : path);
    if (is) each.setAttribute("aria-current", "page"); else each.removeAttribute("aria-current");
  });
  const pages = { "": now, runs, federation, disk };
  const mine = shown = { path, update: null, fit: null };
  try {
    let content;
    if (where === "run") {
      const page = new RunPage(what);
      content = await page.first();
      mine.update = () => page.update(false);
      mine.fit = () => page.charts.forEach((chart) => chart.fit());
      mine.recolour = () => page.charts.forEach((chart) => chart.show(chart.shown));
    } else if (where === "block") {
      content = await block(what);
    } else {
      const page = pages[where] || now;
      content = await page();
      if (page === now || page === runs) mine.update = async () => { const newer = await page(); if (shown === mine) swap(main, ...newer); };
    }
    if (shown !== mine) return;
    main.replaceChildren(...content);
    document.title = `${main.querySelector("h1").textContent} - Pollen`;
    scrollTo(0, 0);
    if (document.readyState === "complete" && document.activeElement !== document.body) main.focus();
  } catch (error) {
    if (shown === mine) fail(error);
  }
}

// Between two updates: so many times as long as the last one took, within bounds in milliseconds. A long run that is
// read, or one that is fast, leaves the page free to scroll.
const SHARE = 4;
const PAUSE = 300;
const LONGEST = 2000;

async function changed() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    do {
      again = false;
      const begun = performance.now();
      if (shown && shown.update) await shown.update();
      const took = performance.now() - begun;
      await new Promise((resolve) => { setTimeout(resolve, Math.min(LONGEST, Math.max(PAUSE, SHARE * took))); });
    } while (again);
  } catch (error) {
    link.textContent = error.message;
  } finally {
    busy = false;
  }
}

const events = new EventSource("events");
events.onmessage = () => { link.textContent = "live"; changed(); };
events.onerror = () => { link.textContent = "peer web does not answer"; };
addEventListener("hashchange", go);
addEventListener("resize", () => shown?.fit?.());
darkness.addEventListener("change", () => shown?.recolour?.());  // charts are drawn with colours of their own
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
go();
