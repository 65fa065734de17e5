// Filter and search of the questions. Texts are only read; nothing is written as markup.
"use strict";
(() => {
  const tools = document.getElementById("tools");
  const questions = Array.from(document.querySelectorAll("details.question"));
  const groups = Array.from(document.querySelectorAll("details.group"));
  if (!tools || !questions.length) return;
  const fields = ["kind", "arm", "is", "q"].map((name) => document.getElementById("by-" + name));
  const [kind, arm, is, search] = fields;
  const count = document.getElementById("count");
  const texts = new Map();

  const textOf = (question) => {
    if (!texts.has(question)) {
      const parts = question.querySelectorAll(".asked, p.gold, .answer, .error");
      texts.set(question, Array.from(parts, (part) => part.textContent).join("\n").toLowerCase());
    }
    return texts.get(question);
  };

  const fits = (question) => {
    const right = question.dataset.right.split(" ").filter(Boolean);
    const asked = Number(question.dataset.arms);
    if (kind.value && question.parentElement.dataset.kind !== kind.value) return false;
    if (is.value === "differ") {
      if (right.length === 0 || right.length === asked) return false;
    } else if (is.value) {
      const wanted = is.value === "right";
      const all = arm.value ? right.includes(arm.value) === wanted
        : right.length === (wanted ? asked : 0);
      if (!all) return false;
    }
    const sought = search.value.trim().toLowerCase();
    return !sought || textOf(question).includes(sought);
  };

  const show = () => {
    let shown = 0;
    for (const question of questions) {
      question.hidden = !fits(question);
      if (!question.hidden) shown += 1;
    }
    const narrowed = fields.some((field) => field.value);
    for (const group of groups) {
      const left = group.querySelectorAll("details.question:not([hidden])").length;
      group.hidden = left === 0;
      group.querySelector(".left").textContent = left;
      if (narrowed && left) group.open = true;
    }
    count.textContent = `${shown} of ${questions.length} questions`;
  };

  const read = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = wanted.get(field.name) || "";
    for (const field of fields) if (field.selectedIndex === -1) field.value = "";
    show();
  };

  const changed = () => {
    const state = new URLSearchParams();
    for (const field of fields) if (field.value) state.set(field.name, field.value);
    // Where a file's address may not be changed, the filter works all the same.
    try { history.replaceState(null, "", "#" + state); } catch { /* not kept then */ }
    show();
  };

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(changed, 150);
  });
  for (const field of [kind, arm, is]) field.addEventListener("change", changed);
  document.getElementById("clear").addEventListener("click", () => {
    for (const field of fields) field.value = "";
    changed();
    search.focus();
  });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) read(); });

  tools.hidden = false;
  read();
})();
