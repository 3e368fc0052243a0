// Plays windows twice on one clock and with one camera: what came on the left, what was drawn on the right.
(() => {
  "use strict";
  const card = document.getElementById("drawn");
  const scenes = JSON.parse(document.getElementById("drawn-scenes").textContent);
  const use = Object.fromEntries([...card.querySelectorAll("[data-use]")].map((element) => [element.dataset.use, element]));
  const HIDDEN = -32768, SECONDS = 6, REST = 0.8;  // a window takes SECONDS at speed 1, and rests at its end
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- the numbers

  function unpack(text, scale) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
    const out = new Float32Array(bytes.length / 2);
    for (let i = 0; i < out.length; i++) { const v = view.getInt16(2 * i, true); out[i] = v === HIDDEN ? NaN : v * scale; }
    return out;
  }

  function load(scene) {
    if (scene.ready) return scene;
    const given = unpack(scene.given, scene.scale), width = scene.nodes * scene.dim, ahead = scene.time.length - scene.past;
    scene.frames = scene.time.length;
    // The path of all nodes: the given frames, then those that follow; frame-major, as [time node dim].
    const path = (future) => { const out = new Float32Array(scene.frames * width); out.set(given); out.set(future, given.length); return out; };
    scene.came = scene.truth === null ? null : path(unpack(scene.truth, scene.scale));
    for (const one of scene.drawn) {
      const all = unpack(one.data, scene.scale);
      one.paths = Array.from({ length: one.draws }, (_, k) => path(all.subarray(k * ahead * width, (k + 1) * ahead * width)));
      const mean = new Float32Array(scene.frames * width);
      for (const p of one.paths) for (let i = 0; i < mean.length; i++) mean[i] += p[i] / one.draws;
      one.mean = mean;
    }
    scene.ready = true;
    return scene;
  }

  // The place of a node at a time counted in frames; straight between two frames. Null where it was not seen.
  function at(scene, path, node, when, out) {
    const low = Math.floor(when), high = Math.min(low + 1, scene.frames - 1), share = when - low, dim = scene.dim;
    out[2] = 0;
    for (let d = 0; d < dim; d++) {
      const a = path[(low * scene.nodes + node) * dim + d], b = path[(high * scene.nodes + node) * dim + d];
      out[d] = share === 0 ? a : a + share * (b - a);
      if (Number.isNaN(out[d])) return null;
    }
    return out;
  }

  // ---- the camera, the same for both stages

  const start = () => ({ yaw: 0.4, pitch: 0.3, zoom: 1, x: 0, y: 0 });
  let camera = start();

  function projector(scene, width, height) {
    if (scene.dim === 2) {
      const scale = camera.zoom * Math.min(width / (2 * scene.reach[0]), height / (2 * scene.reach[1])) * 0.86;
      return { scale, to: (p) => [width / 2 + camera.x * width + scale * p[0], height / 2 + camera.y * height - scale * p[1], 0, scale] };
    }
    const radius = scene.radius, far = 4 * radius, scale = camera.zoom * 0.42 * Math.min(width, height) * 4;
    const cy = Math.cos(camera.yaw), sy = Math.sin(camera.yaw), cp = Math.cos(camera.pitch), sp = Math.sin(camera.pitch);
    const [a, b, c] = scene.axes, along = (axis, p) => axis[0] * p[0] + axis[1] * p[1] + axis[2] * p[2];
    return { scale: scale / far, to: (p) => {
      const u = along(a, p), v = along(b, p), w = along(c, p);
      const x = cy * u + sy * w, z = -sy * u + cy * w, y = cp * v - sp * z, depth = sp * v + cp * z;
      const near = scale / Math.max(far - depth, 0.2 * far);
      return [width / 2 + near * x, height / 2 - near * y, depth, near];
    } };
  }

  // ---- drawing

  const sprites = new Map();

  function shade(colour, amount) {  // towards white (amount > 0) or black
    const n = parseInt(colour.slice(1), 16), mix = (v) => Math.round(amount > 0 ? v + (255 - v) * amount : v * (1 + amount));
    return `rgb(${mix(n >> 16)},${mix((n >> 8) & 255)},${mix(n & 255)})`;
  }

  function ball(colour) {
    if (!sprites.has(colour)) {
      const size = 96, canvas = document.createElement("canvas"), c = canvas.getContext("2d");
      canvas.width = canvas.height = size;
      const light = c.createRadialGradient(size * 0.36, size * 0.32, size * 0.04, size / 2, size / 2, size / 2 - 1);
      light.addColorStop(0, shade(colour, 0.7)); light.addColorStop(0.45, colour); light.addColorStop(1, shade(colour, -0.45));
      c.fillStyle = light;
      c.beginPath(); c.arc(size / 2, size / 2, size / 2 - 1, 0, 7); c.fill();
      sprites.set(colour, canvas);
    }
    return sprites.get(colour);
  }

  class Stage {
    constructor(element) {
      this.side = element.dataset.side;
      this.canvas = element.querySelector("canvas");
      this.badge = element.querySelector(".badge");
      this.note = element.querySelector(".note");
      this.context = this.canvas.getContext("2d");
      element.querySelectorAll(".zoom button").forEach((button) => button.addEventListener("click", () => {
        const factor = Number(button.dataset.zoom);
        if (factor) camera.zoom *= factor; else camera = start();
        show();
      }));
      this.canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;  // without Ctrl the wheel scrolls the page
        event.preventDefault();
        camera.zoom *= Math.exp(-event.deltaY / 400);
        show();
      }, { passive: false });
      this.canvas.addEventListener("pointerdown", (event) => { this.held = [event.clientX, event.clientY]; this.canvas.setPointerCapture(event.pointerId); });
      this.canvas.addEventListener("pointerup", () => { this.held = null; });
      this.canvas.addEventListener("pointercancel", () => { this.held = null; });
      this.canvas.addEventListener("pointermove", (event) => {
        if (!this.held) return;
        const dx = event.clientX - this.held[0], dy = event.clientY - this.held[1];
        this.held = [event.clientX, event.clientY];
        this.move(dx, dy);
      });
      this.canvas.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] }[event.key];
        if (step) { event.preventDefault(); this.move(...step); }
      });
      new ResizeObserver(() => show()).observe(this.canvas);
    }

    // Turn the view in space, or shift it in the plane, by pixels.
    move(dx, dy) {
      if (scene.dim === 3) {
        camera.yaw += dx / 120;
        camera.pitch = Math.max(-1.57, Math.min(1.57, camera.pitch + dy / 120));
      } else {
        camera.x += dx / this.canvas.clientWidth;
        camera.y += dy / this.canvas.clientHeight;
      }
      show();
    }

    // What this stage shows: bodies that are drawn in full, and paths that are shown faintly.
    layers() {
      if (this.side === "truth") return scene.came ? [{ path: scene.came, ink: "truth" }] : [{ path: scene.drawn[0].mean, ink: "drawn" }];
      const [method, which] = use.draw.value.split("/"), one = scene.drawn[Number(method)];
      const ghost = use.ghost.checked && scene.came ? [{ path: scene.came, ink: "truth", faint: true }] : [];
      if (which === "all") return [...one.paths.map((path) => ({ path, ink: "drawn", faint: one.draws > 1 })), ...ghost];
      return [...ghost, { path: which === "mean" ? one.mean : one.paths[Number(which)], ink: "drawn" }];
    }

    draw() {
      const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
      if (!width) return;
      if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
      if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
      const c = this.context;
      c.setTransform(ratio, 0, 0, ratio, 0, 0);
      c.clearRect(0, 0, width, height);
      c.lineCap = c.lineJoin = "round";
      const view = projector(scene, width, height), layers = this.layers(), items = [];
      if (scene.dim === 2) this.grid(view, width, height);
      for (const layer of layers) this.collect(layer, view, layers.length, items);
      items.sort((a, b) => a.depth - b.depth);
      for (const item of items) item.paint(c);
      this.told(layers);
      this.canvas.dataset.frame = Math.round(time);
    }

    colour(node, layer) {
      if (layer.ink === "truth" && (scene.dim === 2 || layer.faint)) return scene.colours.length ? palette.nodes[3] : palette.ink;
      return scene.colours[node] || palette.nodes[node % palette.nodes.length];
    }

    // Everything of one path as things to paint, with their depth.
    collect(layer, view, count, items) {
      const alpha = !layer.faint ? 1 : layer.ink === "truth" ? 0.55 : Math.max(0.18, Math.min(0.6, 4 / count)), atoms = scene.colours.length > 0;
      const places = Array.from({ length: scene.nodes }, (_, n) => { const p = at(scene, layer.path, n, time, [0, 0, 0]); return p && view.to(p); });
      if (use.trails.checked) for (let n = 0; n < scene.nodes; n++) this.trail(layer, n, view, alpha, atoms, items);
      const radius = (n) => (atoms ? scene.radii[n] : scene.dim === 2 ? 0 : 0.06 * scene.radius) * (!layer.faint ? 1 : atoms ? 0.35 : 0.6);
      for (const [a, b] of scene.bonds) if (places[a] && places[b]) this.bond(layer, a, b, radius, view, alpha, items);
      places.forEach((p, n) => {
        if (!p) return;
        const r = scene.dim === 2 ? (layer.faint ? 3.2 : 5) : Math.max(2, radius(n) * p[3]), colour = this.colour(n, layer), mark = layer.faint ? "" : scene.marks[n];
        items.push({ depth: p[2], paint: (c) => {
          c.globalAlpha = alpha;
          if (scene.dim === 3 && !(layer.faint && layer.ink === "truth")) c.drawImage(ball(colour), p[0] - r, p[1] - r, 2 * r, 2 * r);
          else { c.fillStyle = colour; c.beginPath(); c.arc(p[0], p[1], layer.faint ? r * 0.8 : r, 0, 7); c.fill(); }
          if (mark && r > 5) {
            c.fillStyle = "#fff"; c.font = `600 ${Math.round(1.5 * r)}px sans-serif`; c.textAlign = "center"; c.textBaseline = "middle";
            c.fillText(mark, p[0], p[1] + 0.08 * r);
          }
        } });
      });
    }

    // Two halves, each in the colour of its atom, from the surface of the balls to the middle.
    bond(layer, a, b, radius, view, alpha, items) {
      const x = at(scene, layer.path, a, time, [0, 0, 0]), y = at(scene, layer.path, b, time, [0, 0, 0]), atoms = scene.colours.length > 0;
      const long = Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]) || 1, between = (share) => view.to(x.map((v, d) => v + share * (y[d] - v)));
      const p = between(Math.min(0.8 * radius(a) / long, 0.5)), q = between(1 - Math.min(0.8 * radius(b) / long, 0.5)), middle = between(0.5);
      const thick = (atoms ? 0.22 * (p[3] + q[3]) / 2 : 2.5) * (layer.faint ? 0.45 : 1);
      for (const [end, node] of [[p, a], [q, b]]) items.push({ depth: (middle[2] + end[2]) / 2, paint: (c) => {
        c.globalAlpha = atoms ? alpha : 0.6 * alpha;
        const colour = atoms ? this.colour(node, layer) : palette.muted;
        for (const [wide, ink] of atoms && !layer.faint ? [[thick, shade(colour, -0.45)], [0.72 * thick, colour]] : [[thick, colour]]) {
          c.lineWidth = Math.max(1, wide); c.strokeStyle = ink;
          c.beginPath(); c.moveTo(end[0], end[1]); c.lineTo(middle[0], middle[1]); c.stroke();
        }
      } });
    }

    // Where the node has been: grey while it was given, then in its colour.
    trail(layer, node, view, alpha, atoms, items) {
      const end = Math.floor(time), last = scene.past - 1;
      const points = [];
      for (let f = 0; f <= end; f++) { const p = at(scene, layer.path, node, f, [0, 0, 0]); points.push(p && view.to(p)); }
      const p = at(scene, layer.path, node, time, [0, 0, 0]);
      points.push(p && view.to(p));
      const thick = (scene.dim === 2 ? 2.2 : 1.6) * (layer.faint ? 0.7 : 1), colour = atoms && layer.ink === "drawn" ? palette.nodes[0] : atoms ? palette.ink : this.colour(node, layer);
      const stretch = (from, to, ink, strength) => {
        const run = points.slice(from, to + 1).filter(Boolean);
        if (run.length < 2) return;
        // Behind the bodies of their depth; at most a few pieces, so that a path may pass in front of one body and behind another.
        for (let k = 0; k + 1 < run.length; k += scene.dim === 2 ? run.length : 3) {
          const piece = run.slice(k, scene.dim === 2 ? undefined : k + 4), depth = piece.reduce((sum, q) => sum + q[2], 0) / piece.length;
          items.push({ depth: scene.dim === 2 ? -1 : depth - 1e-3, paint: (c) => {
            c.globalAlpha = strength; c.strokeStyle = ink; c.lineWidth = thick;
            c.beginPath(); piece.forEach((q, i) => (i ? c.lineTo(q[0], q[1]) : c.moveTo(q[0], q[1]))); c.stroke();
          } });
        }
      };
      if (!layer.faint || layer.ink === "truth") stretch(0, Math.min(last, points.length - 1), palette.muted, layer.faint ? 0.5 : 0.75);
      if (points.length - 1 > last) stretch(last, points.length - 1, colour, (atoms ? 0.6 : 0.9) * alpha);
    }

    grid(view, width, height) {
      const c = this.context, across = width / view.scale, power = 10 ** Math.floor(Math.log10(across / 4));
      const step = [5, 2, 1].map((k) => k * power).find((s) => across / s >= 4) || power, [ox, oy] = view.to([-scene.centre[0], -scene.centre[1], 0]);
      c.globalAlpha = 1; c.strokeStyle = palette.rule; c.lineWidth = 1;
      c.beginPath();
      for (let k = Math.ceil(-ox / (step * view.scale)); ox + k * step * view.scale < width; k++) { const x = Math.round(ox + k * step * view.scale) + 0.5; c.moveTo(x, 0); c.lineTo(x, height); }
      for (let k = Math.ceil((oy - height) / (step * view.scale)); oy - k * step * view.scale > 0; k++) { const y = Math.round(oy - k * step * view.scale) + 0.5; c.moveTo(0, y); c.lineTo(width, y); }
      c.stroke();
      c.strokeStyle = c.fillStyle = palette.muted; c.lineWidth = 2;
      const x = 12, y = height - 12, long = step * view.scale;
      c.beginPath(); c.moveTo(x, y); c.lineTo(x + long, y); c.stroke();
      c.font = "12px sans-serif"; c.textAlign = "left"; c.textBaseline = "bottom";
      c.fillText(`${Number(step.toPrecision(3))}${scene.length ? " " + scene.length : ""}`, x, y - 3);
    }

    // The badge says whether this is given or predicted; the note, how far the drawn is from the truth just now.
    told(layers) {
      const predicted = time > scene.past - 1 + 1e-6;
      this.badge.textContent = !predicted ? "given" : this.side === "truth" && scene.came ? "truth" : "forecast";
      if (this.side === "truth") { this.note.textContent = scene.came ? `${scene.title}${scene.title.includes("rank") ? " (rank 1 is the best)" : ""}` : "No truth was given: the mean of the draws."; return; }
      let text = scene.note;
      if (scene.came && predicted) {
        const drawn = layers.filter((layer) => layer.ink === "drawn"), p = [0, 0, 0], q = [0, 0, 0];
        let sum = 0, n = 0;
        for (const layer of drawn) for (let node = 0; node < scene.nodes; node++) {
          if (at(scene, layer.path, node, time, p) && at(scene, scene.came, node, time, q)) { sum += Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]); n++; }
        }
        if (n) text = `${(sum / n).toPrecision(3)}${scene.length ? " " + scene.length : ""} from the truth now, mean over ${drawn.length > 1 ? "draws and " : ""}nodes. ${text}`;
      }
      this.note.textContent = text || "\u00a0";
    }
  }

  // ---- the clock and the choices

  let scene = null, touched = false, time = 0, playing = false, before = 0, rest = 0, palette = {};
  const stages = [];

  function colours() {
    palette = { ink: style("--ink"), muted: style("--c7"), rule: style("--rule"), nodes: [1, 2, 3, 4, 5, 6].map((k) => style(`--c${k}`)) };
  }

  function show() {
    if (!scene) return;
    for (const stage of stages) stage.draw();
    use.slider.value = Math.round(time);
    const frame = Math.min(Math.round(time), scene.frames - 1), digits = Math.max(...scene.time.map((t) => (String(Math.round(t * 1000) / 1000).split(".")[1] || "").length));
    const now = scene.time[frame];
    use.clock.textContent = `${now > 0 ? "+" : now < 0 ? "−" : ""}${Math.abs(now).toFixed(Math.min(digits, 3))}${scene.clock ? " " + scene.clock : ""}`;
    use.slider.setAttribute("aria-valuetext", use.clock.textContent);
    card.dataset.frame = frame;
  }

  function choose(index) {
    const kept = use.draw.value;
    scene = load(scenes[index]);
    use.draw.replaceChildren(...scene.drawn.map((one, m) => {
      const group = document.createElement("optgroup");
      group.label = one.name;
      const entry = (value, text) => { const option = document.createElement("option"); option.value = `${m}/${value}`; option.textContent = `${one.name}${text}`; group.append(option); };
      if (one.draws > 1) { entry("all", `, all ${one.draws} draws`); entry("mean", ", mean of the draws"); }
      one.paths.forEach((_, k) => entry(k, one.draws > 1 ? `, draw ${k + 1}` : ""));
      return group;
    }));
    const many = scene.drawn[0].draws > 1, first = !many ? "0/0" : scene.colours.length ? "0/0" : "0/all";
    use.draw.value = [...use.draw.options].some((option) => option.value === kept) ? kept : first;
    use.slider.max = scene.frames - 1;
    use.ghost.disabled = !scene.came;
    if (!touched) use.trails.checked = scene.colours.length === 0;  // atoms mostly swing to and fro
    card.dataset.dim = scene.dim;
    camera = start();
    time = scene.frames - 1;
    show();
  }

  function tick(now) {
    if (!playing) return;
    const passed = (now - before) / 1000 * Number(use.speed.value);
    before = now;
    if (time >= scene.frames - 1) {
      rest += passed;
      if (rest > REST) { rest = 0; time = 0; }
    } else time = Math.min(time + passed * (scene.frames - 1) / SECONDS, scene.frames - 1);
    show();
    requestAnimationFrame(tick);
  }

  function setPlaying(on) {
    playing = on;
    use.play.textContent = on ? "Pause" : "Play";
    use.play.setAttribute("aria-pressed", String(on));
    if (!on) return;
    if (time >= scene.frames - 1) time = 0;
    before = performance.now();
    requestAnimationFrame(tick);
  }

  colours();
  scenes.forEach((one, k) => use.scene.add(new Option(one.title, k)));
  card.querySelectorAll(".view").forEach((element) => stages.push(new Stage(element)));
  use.scene.addEventListener("change", () => choose(Number(use.scene.value)));
  use.trails.addEventListener("change", () => { touched = true; });
  for (const name of ["draw", "trails", "ghost"]) use[name].addEventListener("change", show);
  use.play.addEventListener("click", () => setPlaying(!playing));
  use.slider.addEventListener("input", () => { setPlaying(false); time = Number(use.slider.value); show(); });
  document.addEventListener("themechange", () => { colours(); show(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours(); show(); });
  choose(0);
})();
