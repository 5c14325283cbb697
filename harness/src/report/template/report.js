"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // Copy buttons.
  for (const button of all(".copy")) {
    button.addEventListener("click", () => {
      const code = button.previousElementSibling;
      const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1200); };
      const select = () => { getSelection().selectAllChildren(code); if (document.execCommand("copy")) done(); };
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select); else select();
    });
  }

  // Fault kinds can be hidden.
  const stage = document.getElementById("stage");
  for (const box of all("input[data-kind]")) {
    box.addEventListener("change", () => {
      for (const shape of all(`.band.${box.dataset.kind}, .bar.${box.dataset.kind}`, stage)) {
        shape.style.display = box.checked ? "" : "none";
      }
    });
  }

  // A fault's bar shows its time in everything else.
  const spot = document.getElementById("spot");
  for (const bar of all(".bar", stage)) {
    bar.addEventListener("pointerenter", () => {
      spot.style.cssText = `display:block;left:${bar.getAttribute("x")};width:${bar.getAttribute("width")}`;
    });
    bar.addEventListener("pointerleave", () => { spot.style.display = "none"; });
  }

  // Zoom: the sheet grows, the stage scrolls; places are percentages, so nothing needs to be drawn again.
  const sheet = stage.querySelector(".sheet");
  const axis = stage.querySelector(".axis svg");
  let zoom = 1;
  const zoomTo = (wanted, clientX) => {
    const before = axis.getBoundingClientRect();
    const visible = stage.getBoundingClientRect();
    const x = clientX === undefined ? (Math.max(before.left, visible.left) + visible.right) / 2 : clientX;
    const share = (x - before.left) / before.width;
    zoom = Math.min(64, Math.max(1, wanted));
    sheet.style.setProperty("--zoom", zoom);
    stage.classList.toggle("zoomed", zoom >= 4);
    stage.classList.toggle("zoomed-far", zoom >= 16);
    document.getElementById("zoom").textContent = `${zoom}×`;
    const after = axis.getBoundingClientRect();
    stage.scrollLeft += after.left + share * after.width - x;
  };
  for (const button of all("button[data-zoom]")) {
    button.addEventListener("click", () => zoomTo(button.dataset.zoom === "in" ? zoom * 2 : zoom / 2));
  }
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(event.deltaY < 0 ? zoom * 2 : zoom / 2, event.clientX);
  }, { passive: false });

  // What is under the pointer, in words.
  const data = JSON.parse(document.getElementById("data").textContent);
  const cross = document.getElementById("cross");
  const readout = document.getElementById("readout");
  const ms = (x) => x === null || x === undefined ? "–" : x < 10 ? x.toFixed(2) : x.toFixed(0);
  stage.addEventListener("pointermove", (event) => {
    const box = axis.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (share < 0 || share > 1) return;
    const time = share * data.end;
    const bin = Math.min(Math.floor(time / data.width), data.ok.length - 1);
    const leader = data.leaders.filter((one) => one[0] <= time).pop();
    const faults = data.faults.filter((one) => one[0] <= time && time <= one[1]).map((one) => one[2]);
    const parts = [`${time.toFixed(2)} s`, `${Math.round(data.ok[bin])} ok/s`];
    if (data.fail[bin] > 0) parts.push(`${Math.round(data.fail[bin])} fail/s`);
    if (data.info[bin] > 0) parts.push(`${Math.round(data.info[bin])} info/s`);
    parts.push(`p50 ${ms(data.p50[bin])} ms, p99 ${ms(data.p99[bin])} ms`);
    if (leader) parts.push(`n${leader[1]} last elected, term ${leader[2]}`);
    if (faults.length) parts.push(faults.slice(0, 3).join(" + "));
    readout.textContent = parts.join("  ·  ");
    cross.style.display = "block";
    cross.style.left = `${event.clientX - sheet.getBoundingClientRect().left}px`;
  });
  stage.addEventListener("pointerleave", () => { cross.style.display = "none"; readout.textContent = ""; });

  // On paper nothing can be unfolded.
  addEventListener("beforeprint", () => { for (const one of all("details")) one.open = true; });
})();
