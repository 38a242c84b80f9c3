// A model's page: the plot of load times, made again when the live part says that there are more.
"use strict";
(() => {
  const place = document.getElementById("loads-plot");
  const board = () => document.getElementById("model-board")?.dataset.loads;
  if (!place || !window.uPlot) return;
  const told = document.getElementById("loads-told");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let loads = [];
  let plot = null;
  let shown = "";

  // Colours are those of the page, whichever theme it has.
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.className = name;
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  const point = (index) => {
    const one = loads[index];
    if (!one) return;
    const words = place.dataset.one.replace("{version}", one.version).replace("{server}", one.server);
    told.textContent = `${one.at.slice(0, 19).replace("T", " ")} UTC · ${words} · ${one.seconds.toFixed(1)} s`;
  };

  // A quarter of an hour at least, so that a single load does not stand among years.
  const around = (_, first, last) => {
    const room = Math.max((last - first) * 0.05, 450);
    return [first - room, last + room];
  };

  const hours = (self, at) => {
    const days = self.scales.x.max - self.scales.x.min > 172800;
    const told = at.map((seconds) => new Date(seconds * 1000).toISOString());
    return told.map((text) => (days ? text.slice(5, 10) : text.slice(11, 16)));
  };

  const draw = () => {
    if (plot) plot.destroy();
    const soft = colour("where");
    const axis = { stroke: soft, grid: { stroke: colour("line-colour"), width: 1 }, ticks: { show: false } };
    const options = {
      width: place.clientWidth,
      height: 220,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { range: around }, y: { range: (_, __, most) => [0, most * 1.15 || 1] } },
      axes: [{ ...axis, values: hours }, { ...axis, size: 44, label: place.dataset.seconds, labelSize: 18, labelFont: "12px system-ui" }],
      series: [{}, { stroke: colour("mark mark-LOADING"), paths: () => null, points: { show: true, size: 8, fill: colour("mark mark-LOADING") } }],
      hooks: { setCursor: [(self) => { if (self.cursor.idx != null) point(self.cursor.idx); }] },
    };
    plot = new uPlot(options, [loads.map((one) => Date.parse(one.at) / 1000), loads.map((one) => one.seconds)], place);
  };

  const fetched = async () => {
    if (board() === shown) return;
    shown = board();
    const answer = await fetch(place.dataset.loads);
    if (!answer.ok) return;
    loads = await answer.json();
    if (!loads.length) return;
    place.hidden = false;
    draw();
    point(loads.length - 1);
  };

  let resized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => { if (plot) plot.setSize({ width: place.clientWidth, height: 220 }); }, 100);
  });
  dark.addEventListener("change", () => { if (plot) draw(); });
  document.addEventListener("htmx:afterSettle", fetched);
  fetched();
})();
