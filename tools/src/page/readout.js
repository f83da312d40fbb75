"use strict";
// Values under the pointer, read back from what is drawn.
(() => {
  const runs = path => {
    const found = [];
    let x = 0, y = 0;
    for (const [, step, numbers] of path.matchAll(/([MHVLh])([-\d. ]+)/g)) {
      const [one, two] = numbers.split(" ").map(Number);
      if (step === "M") [x, y] = [one, two];
      else if (step === "V") y = one;
      else if (step === "h") found.push([x, x, y, y]);
      else if (step === "H") { found.push([x, one, y, y]); x = one; }
      else { found.push([x, one, y, two]); [x, y] = [one, two]; }
    }
    return found;
  };
  // Height of a line at a place, or of the nearest point if it is near.
  const height = (runs, at, isPoints) => {
    let best = null, nearest = 4;
    for (const [left, right, from, to] of runs) {
      if (isPoints || left === right) {
        if (Math.abs(left - at) <= nearest) [best, nearest] = [from, Math.abs(left - at)];
      } else if (left <= at && at <= right) {
        best = from + (to - from) * (at - left) / (right - left);
      }
    }
    return best;
  };
  const make = (name, parent) => {
    const element = document.createElement(name === "cross" ? "i" : "div");
    element.className = name;
    element.hidden = true;
    element.setAttribute("aria-hidden", "true");
    return parent.appendChild(element);
  };
  for (const stack of document.querySelectorAll(".time-plots")) {
    const from = Number(stack.dataset.from), until = Number(stack.dataset.until);
    const plots = [...stack.querySelectorAll(".canvas")].map(canvas => {
      const { low, high, unit, names } = canvas.querySelector(".lines").dataset;
      const series = [...canvas.querySelectorAll("path[data-name]")].map(path => ({
        name: path.dataset.name,
        isPoints: path.classList.contains("points"),
        runs: runs(path.getAttribute("d")),
      }));
      for (const marks of canvas.querySelectorAll(".marks")) {
        const places = [...marks.querySelectorAll("use")].map(use =>
          [10 * parseFloat(use.getAttribute("x")), parseFloat(use.getAttribute("y"))]);
        series.push({
          name: marks.dataset.name, isPoints: true, runs: places.map(([x, y]) => [x, x, y, y]),
        });
      }
      const named = names ? names.split("\n").map(pair => pair.split("\t")) : [];
      return {
        canvas, series, named, unit, low: Number(low), high: Number(high),
        read: make("read", canvas), cross: make("cross", canvas),
      };
    });
    const words = (plot, y) => {
      const value = plot.high - (plot.high - plot.low) * y / 100;
      const near = plot.named.find(([at]) => Math.abs(at - value) < (plot.high - plot.low) / 1000);
      const number = Number(value.toPrecision(4)).toLocaleString("en");
      return near ? near[1] : `${number} ${plot.unit}`.trim();
    };
    const show = (event, here) => {
      const box = here.canvas.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      const digits = until - from < 600 ? 2 : 0;
      for (const plot of plots) {
        plot.cross.hidden = false;
        plot.cross.style.left = `${100 * share}%`;
        plot.read.hidden = plot !== here;
      }
      const lines = here.series
        .map(({ name, runs, isPoints }) => [name, height(runs, 1000 * share, isPoints)])
        .filter(([, y]) => y !== null)
        .map(([name, y]) => `${name}: ${words(here, y)}`);
      here.read.textContent =
        [`${(from + share * (until - from)).toFixed(digits)} s`, ...lines].join("\n");
      here.read.style.left = share > 0.5 ? ".3rem" : "auto";
      here.read.style.right = share > 0.5 ? "auto" : ".3rem";
    };
    const hide = () => plots.forEach(({ read, cross }) => { read.hidden = cross.hidden = true; });
    for (const plot of plots) {
      plot.canvas.addEventListener("pointermove", event => show(event, plot));
      plot.canvas.addEventListener("pointerdown", event => show(event, plot));
      plot.canvas.addEventListener("pointerleave", hide);
    }
  }
})();
