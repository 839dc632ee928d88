// The canvas of the explorer: it paints `picture` and tells Python what was clicked. All texts are painted or set as
// plain text by vis-network; nothing here makes HTML of data. `vis` comes before this file, see canvas.py.
const STYLE = `
.ragtune-canvas { position: relative; height: 100%; min-height: 200px; background: #fff; border: 1px solid #d5d9de;
  border-radius: 6px; overflow: hidden; }
.ragtune-canvas:focus-within { border-color: #0072b2; }
.ragtune-canvas .vis-network { outline: none; }
.ragtune-canvas div.vis-tooltip { position: absolute; visibility: hidden; z-index: 5; pointer-events: none;
  white-space: pre; font: 13px/1.45 system-ui, sans-serif; background: #fff; color: #1c1e21;
  border: 1px solid #d5d9de; border-radius: 6px; padding: 8px 10px; box-shadow: 0 2px 10px rgba(0, 0, 0, .12); }
`;

function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const frame = document.createElement("div");
  frame.className = "ragtune-canvas";
  frame.style.height = `${model.get("height_px")}px`;
  frame.setAttribute("data-lm-suppress-shortcuts", "true"); // else keys typed here would delete cells
  frame.setAttribute("role", "img");
  el.append(style, frame);

  const nodes = new vis.DataSet(), edges = new vis.DataSet();
  const network = new vis.Network(frame, { nodes, edges }, model.get("options"));
  const fit = () => {
    if (!frame.clientWidth) return;
    network.redraw();
    network.fit({ maxZoomLevel: 1.4 });
  };

  function hideTooltip() { // vis-network leaves it there when what it belongs to is gone
    for (const tip of frame.querySelectorAll(".vis-tooltip")) tip.style.visibility = "hidden";
  }
  function paint() {
    const picture = model.get("picture");
    hideTooltip();
    frame.setAttribute("aria-label", picture.caption || "graph");
    network.unselectAll();
    edges.clear();
    nodes.clear();
    nodes.add(picture.nodes || []);
    edges.add(picture.edges || []);
    mark();
    fit();
  }
  function mark() {
    const id = model.get("marked");
    if (nodes.get(id)) network.selectNodes([id], false);
    else network.unselectAll();
  }

  network.on("click", (event) => {
    if (event.nodes.length) model.send({ kind: "node", id: event.nodes[0] });
    else if (event.edges.length) model.send({ kind: "edge", id: event.edges[0] });
  });
  network.on("doubleClick", (event) => {
    if (event.nodes.length) model.send({ kind: "open", id: event.nodes[0] });
  });
  frame.addEventListener("mouseleave", hideTooltip);
  model.on("change:picture", paint);
  model.on("change:marked", mark);
  // a frame that is drawn before it is seen has no size yet: the whole graph is fitted when it has one
  const watch = new ResizeObserver(fit);
  watch.observe(frame);
  paint();
  return () => {
    model.off("change:picture", paint);
    model.off("change:marked", mark);
    watch.disconnect();
    network.destroy();
  };
}
export default { render };
