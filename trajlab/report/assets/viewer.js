// Plays the structures of a report: two panes on one clock. Coordinates arrive as int16 in base64; 3Dmol draws them.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);

  const scenes = JSON.parse(byId("scenes").textContent);
  const panes = [], player = byId("structure-player");

  // int16 steps of `scale` Angstrom around `centre`; frame-major, as [time node 3].
  function unpack(scene) {
    if (!scene.xyz) {
      const bytes = Uint8Array.from(atob(scene.data), (c) => c.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      scene.xyz = new Float32Array(bytes.length / 2);
      for (let i = 0; i < scene.xyz.length; i++) scene.xyz[i] = view.getInt16(2 * i, true) * scene.scale;
    }
    return scene.xyz;
  }

  // The rotation that brings points p nearest to q (both [n 3]) about their means: the leading eigenvector of Horn's 4x4 matrix is its quaternion.
  function aligned(p, q) {
    const n = p.length / 3, mp = [0, 0, 0], mq = [0, 0, 0];
    for (let i = 0; i < p.length; i++) { mp[i % 3] += p[i] / n; mq[i % 3] += q[i] / n; }
    const s = [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
    for (let i = 0; i < n; i++) for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) s[a][b] += (p[3 * i + a] - mp[a]) * (q[3 * i + b] - mq[b]);
    const [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = s;
    const m = [[xx + yy + zz, yz - zy, zx - xz, xy - yx], [yz - zy, xx - yy - zz, xy + yx, zx + xz],
               [zx - xz, xy + yx, yy - xx - zz, yz + zy], [xy - yx, zx + xz, yz + zy, zz - xx - yy]];
    const shift = Math.max(...m.map((row) => row.reduce((sum, v) => sum + Math.abs(v), 0))) || 1;
    let e = [1, 0.01, 0.02, 0.03];
    for (let step = 0; step < 60; step++) {
      const next = m.map((row, i) => row.reduce((sum, v, j) => sum + v * e[j], shift * e[i]));
      const size = Math.hypot(...next);
      e = next.map((v) => v / size);
    }
    const [w, x, y, z] = e, out = new Float32Array(p.length);
    const r = [[w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
               [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
               [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z]];
    for (let i = 0; i < n; i++) for (let a = 0; a < 3; a++) {
      out[3 * i + a] = mq[a] + r[a][0] * (p[3 * i] - mp[0]) + r[a][1] * (p[3 * i + 1] - mp[1]) + r[a][2] * (p[3 * i + 2] - mp[2]);
    }
    return out;
  }

  function hasWebGL() {
    try {
      const canvas = document.createElement("canvas");
      return Boolean(window.$3Dmol && (canvas.getContext("webgl2") || canvas.getContext("webgl")));
    } catch { return false; }
  }

  const stageColour = () => getComputedStyle(document.documentElement).getPropertyValue("--stage").trim();

  class Pane {
    constructor(element) {
      this.element = element;
      this.stage = element.querySelector(".stage");
      this.select = element.querySelector("select");
      this.viewer = $3Dmol.createViewer(this.stage, { backgroundColor: stageColour(), antialias: true, disableFog: true });
      this.viewer.setViewStyle({ style: "outline", color: "#30343a", width: 0.012 });
      // The wheel scrolls the page; with Ctrl it zooms, and so do the buttons.
      this.stage.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopPropagation(); }, { capture: true, passive: true });
      element.querySelectorAll(".zoom button").forEach((button) => button.addEventListener("click", () => {
        if (button.dataset.zoom) this.viewer.zoom(Number(button.dataset.zoom), 150); else this.fit();
      }));
      this.select.addEventListener("change", () => { this.load(); show(); });
      this.load();
    }

    load() {
      this.scene = scenes[Number(this.select.value)];
      this.xyz = unpack(this.scene);
      this.width = 3 * this.scene.symbols.length;
      this.viewer.removeAllModels();
      this.viewer.removeAllShapes();
      this.model = this.viewer.addModel();
      const first = this.xyz.subarray(0, this.width);
      const neighbours = this.scene.symbols.map(() => []);
      for (const [a, b] of this.scene.bonds) { neighbours[a].push(b); neighbours[b].push(a); }
      this.model.addAtoms(this.scene.symbols.map((elem, i) => (
        { elem, x: first[3 * i], y: first[3 * i + 1], z: first[3 * i + 2], bonds: neighbours[i], bondOrder: neighbours[i].map(() => 1) })));
      this.style = this.scene.bonds.length ? { stick: { radius: 0.13 }, sphere: { scale: 0.26 } } : { sphere: { scale: 0.42 } };
      for (const [a, b] of this.scene.box) {
        this.viewer.addLine({ start: { x: a[0], y: a[1], z: a[2] }, end: { x: b[0], y: b[1], z: b[2] }, color: "#8a9099" });
      }
      this.frame = -1;
      this.draw(0);
      if (this.scene.box.length && this.view === undefined) { this.viewer.rotate(18, "y"); this.viewer.rotate(12, "x"); this.view = "tilted"; }
      this.fit();
      this.element.querySelector(".note").textContent = this.scene.note;
    }

    fit() {
      const crystal = this.scene.box.length > 0;
      this.viewer.zoomTo();
      this.viewer.zoom(crystal ? 1.12 : 1.45);
      this.viewer.render();
    }

    recolour() { this.viewer.setBackgroundColor(stageColour()); this.viewer.render(); }

    get last() { return (this.scene.n_frames - 1) * this.scene.spacing; }

    // The frame nearest to a time; past the end the last one stays.
    draw(time, force = false) {
      const frame = Math.min(this.scene.n_frames - 1, Math.round(time / this.scene.spacing));
      if (frame === this.frame && !force) return;
      this.frame = frame;
      let now = this.xyz.subarray(frame * this.width, (frame + 1) * this.width);
      if (byId("hold").checked && !this.scene.box.length) now = aligned(now, this.xyz.subarray(0, this.width));
      this.model.selectedAtoms({}).forEach((atom, i) => { atom.x = now[3 * i]; atom.y = now[3 * i + 1]; atom.z = now[3 * i + 2]; });
      this.model.setStyle({}, this.style);
      this.viewer.render();
      this.element.dataset.frame = frame;
    }
  }

  if (!hasWebGL()) {
    player.querySelectorAll(".stage").forEach((stage) => {
      stage.innerHTML = '<p class="nowebgl">This browser offers no WebGL, so the structures cannot be drawn here. The tables and figures of this page are complete without it.</p>';
    });
    player.querySelectorAll(".controls, .pane label").forEach((element) => { element.hidden = true; element.style.display = "none"; });
    return;
  }

  const slider = byId("slider"), play = byId("play"), clock = byId("clock"), speed = byId("speed"), hold = byId("hold");
  const step = () => Math.min(...panes.map((pane) => pane.scene.spacing));
  const end = () => Math.max(...panes.map((pane) => pane.last));
  let time = 0, playing = false, before = 0;

  function show(force = false) {
    time = Math.min(time, end());
    for (const pane of panes) pane.draw(time, force);
    slider.max = Math.round(end() / step());
    slider.value = Math.round(time / step());
    const shown = Math.round(time / step()) * step(), ps = end() >= 10000;
    clock.textContent = ps ? `${(shown / 1000).toFixed(2)} / ${(end() / 1000).toFixed(1)} ps` : `${shown.toFixed(0)} / ${end().toFixed(0)} fs`;
    slider.setAttribute("aria-valuetext", clock.textContent);
  }

  // At speed 1, twenty frames a second.
  function tick(now) {
    if (!playing) return;
    time += ((now - before) / 1000) * 20 * step() * Number(speed.value);
    before = now;
    if (time > end()) time = 0;
    show();
    requestAnimationFrame(tick);
  }

  function setPlaying(on) {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(on));
    if (on) { before = performance.now(); requestAnimationFrame(tick); }
  }

  document.querySelectorAll(".pane").forEach((element) => panes.push(new Pane(element)));
  play.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => { setPlaying(false); time = Number(slider.value) * step(); show(); });
  hold.addEventListener("change", () => show(true));
  document.addEventListener("themechange", () => panes.forEach((pane) => pane.recolour()));
  show();
})();
