"use strict";
(() => {
  const stage = document.getElementById("stage"), text = document.getElementById("frames");
  if (!stage || !text) { return; }
  const data = JSON.parse(text.textContent), atoms = data.elements.length;
  const bytes = Uint8Array.from(atob(data.xyz), (sign) => sign.charCodeAt(0));
  const xyz = new Int16Array(bytes.buffer);
  const find = (id) => document.getElementById(id);
  const THIRDS = ["#0072B2", "#D55E00", "#009E73"], SPANS = ["0° to 120°", "120° to −120°", "−120° to 0°"];
  let viewer = null, single = data.count === 1, which = 0;

  const works = () => {
    try {
      const canvas = document.createElement("canvas");
      return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
    } catch (error) { return false; }
  };
  // 3Dmol brings its module under the name "3Dmol"; older builds set $3Dmol
  const library = window.$3Dmol || window["3Dmol"];
  if (library && works()) {
    try {
      viewer = library.createViewer(stage, { backgroundColor: "white", antialias: true });
    } catch (error) { viewer = null; }
  }
  if (!viewer) {
    for (const one of document.querySelectorAll(".controls, button[data-row]")) { one.hidden = true; }
    return;
  }
  find("without").remove();
  const neighbours = data.elements.map(() => []);
  for (const [a, b] of data.bonds) { neighbours[a].push(b); neighbours[b].push(a); }
  const conformation = (frame) => data.elements.map((elem, atom) => {
    const at = 3 * (frame * atoms + atom);
    return { elem, atom: data.names[atom], serial: atom, index: atom, hetflag: true, bonds: neighbours[atom].slice(),
      bondOrder: neighbours[atom].map(() => 1), x: xyz[at] / 100, y: xyz[at + 1] / 100, z: xyz[at + 2] / 100 };
  });
  const heaviest = data.shares ? Math.max(...data.shares) : 1;
  const lightest = data.shares ? Math.min(...data.shares.filter((share) => share > 0)) : 1;
  const byWeight = (frame) => {
    const span = Math.log(heaviest / lightest) || 1;
    const t = Math.log(Math.max(data.shares[frame], lightest) / lightest) / span;
    const mix = (a, b) => Math.round(a + (b - a) * t).toString(16).padStart(2, "0");
    return "#" + mix(0x56, 0xb3) + mix(0xb4, 0x1e) + mix(0xe9, 0x1e);
  };
  const colourOf = (frame) => {
    const by = find("colour") ? find("colour").value : "element";
    if (by === "weight") { return byWeight(frame); }
    if (by.startsWith("torsion")) { return THIRDS[data.torsions[Number(by.slice(7))].thirds[frame]] || "#888888"; }
    return null;
  };
  const share = (frame) => data.shares ? ", " + (100 * data.shares[frame]).toPrecision(3) + " % of all weight" : "";
  const draw = (fit) => {
    viewer.removeAllModels();
    const shown = single ? [which] : Array.from({ length: data.count }, (_, frame) => frame);
    for (const frame of shown) {
      const model = viewer.addModel();
      model.addAtoms(conformation(frame));
      const colour = colourOf(frame), paint = colour ? { color: colour } : {};
      if (single) {
        model.setStyle({}, { stick: { radius: 0.13, ...paint }, sphere: { scale: 0.22, ...paint } });
      } else {
        model.setStyle({}, {});
        model.setStyle({ not: { elem: "H" } }, { line: { linewidth: 1.5, ...paint } });
      }
    }
    if (fit) { viewer.zoomTo(); }
    viewer.render();
    tell();
  };
  const tell = () => {
    const by = find("colour") ? find("colour").value : "element", told = find("told"), legend = find("legend");
    if (told) { told.textContent = single ? "row " + data.rows[which] + share(which) : ""; }
    if (find("single")) { find("single").style.display = single ? "" : "none"; }
    legend.textContent = "";
    const mark = (colour, words) => {
      const dot = document.createElement("span");
      dot.textContent = "■ "; dot.style.color = colour;
      legend.append(dot, words + "  ");
    };
    if (by === "weight") { mark("#56b4e9", "lightest"); mark("#b31e1e", "heaviest"); }
    if (by.startsWith("torsion")) { SPANS.forEach((span, third) => mark(THIRDS[third], span)); }
    stage.dataset.shown = single ? "row " + data.rows[which] : data.count + " at once";
  };
  const choose = (alone, frame) => {
    single = alone;
    which = (frame + data.count) % data.count;
    if (find("which")) { find("which").value = String(which); }
    if (find("all")) {
      find("all").setAttribute("aria-pressed", String(!single));
      find("one").setAttribute("aria-pressed", String(single));
    }
    draw(false);
  };
  if (find("colour")) {
    data.torsions.forEach((torsion, number) => {
      const option = document.createElement("option");
      option.value = "torsion" + number; option.textContent = torsion.label;
      find("colour").append(option);
    });
    if (data.shares) { find("colour").value = "weight"; }
    find("colour").addEventListener("change", () => draw(false));
    find("all").addEventListener("click", () => choose(false, which));
    find("one").addEventListener("click", () => choose(true, which));
    find("before").addEventListener("click", () => choose(true, which - 1));
    find("after").addEventListener("click", () => choose(true, which + 1));
    find("which").addEventListener("input", (event) => choose(true, Number(event.target.value)));
  }
  for (const button of document.querySelectorAll("button[data-row]")) {
    const frame = data.rows.indexOf(Number(button.dataset.row));
    button.hidden = frame < 0;
    button.addEventListener("click", () => {
      choose(true, frame);
      document.getElementById("ensemble").scrollIntoView();
    });
  }
  draw(true);
  // what is drawn by WebGL may be gone when a page is printed: a still picture stands in for it there
  const still = document.createElement("img");
  still.id = "still"; still.alt = "the view in 3D";
  stage.append(still);
  const keep = () => { try { still.src = viewer.pngURI(); } catch (error) { still.remove(); } };
  setTimeout(keep, 300);
  addEventListener("beforeprint", keep);
  addEventListener("resize", () => { viewer.resize(); viewer.render(); });
})();
