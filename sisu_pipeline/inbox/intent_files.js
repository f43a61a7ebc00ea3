// The files of a new intent: dropped, chosen or pasted, as what the run starts from or as the content that patches give files.

import { el, labelled } from "./dom.js";
import { visible } from "./hidden.js";

const MOST_BYTES = 6_000_000;

export class IntentFiles {
  #kept = { files: new Map(), patches: new Map() };
  #listed = { files: el("ul", { class: "plain", id: "files", "data-pointer": "/inputs/files" }), patches: el("ul", { class: "plain", id: "patches", "data-pointer": "/inputs/patches" }) };

  constructor(descriptions) {
    this.fault = el("p", { class: "bad", role: "alert" });
    this.use = el("select", { name: "use" }, el("option", { value: "files" }, "files that the run starts from"), el("option", { value: "patches" }, "patches: the new content of files"));
    this.chooser = el("input", { type: "file", multiple: true, onchange: () => this.#add(this.chooser.files) });
    this.path = el("input", { name: "path", maxlength: "1024", onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); this.#addPasted(); } } });
    this.content = el("textarea", { class: "code", name: "content" });
    const keep = el("button", { type: "button", id: "add-pasted", onclick: () => this.#addPasted() }, "Add the pasted file");
    this.section = el("fieldset", { id: "drop", ondragover: (event) => event.preventDefault(), ondrop: (event) => this.#dropped(event), onpaste: (event) => this.#pasted(event) },
      el("legend", {}, "Files and patches"), el("p", { class: "quiet" }, "Drop files here, choose them, or paste one. Without a repository, the run starts from the files."),
      labelled("Add them as", this.use, `Files: ${descriptions.files} Patches: ${descriptions.patches}`), labelled("Choose files", this.chooser),
      labelled("Path of a pasted file", this.path), labelled("Its content", this.content), el("div", { class: "verbs" }, keep), this.fault, this.#listed.files, this.#listed.patches);
  }

  // The members of the intent's inputs; nothing for what no one added.
  read() {
    const { files, patches } = this.#kept;
    return { ...(files.size ? { files: Object.fromEntries(files) } : {}),
      ...(patches.size ? { patches: [...patches].map(([targetPath, postimageContent]) => ({ targetPath, postimageContent })) } : {}) };
  }

  #dropped(event) {
    event.preventDefault();
    this.#add(event.dataTransfer.files);
  }

  #pasted(event) {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    this.#add(event.clipboardData.files);
  }

  async #add(chosen) {
    this.fault.textContent = "";
    for (const file of chosen) {
      try {
        if (file.size > MOST_BYTES) throw new Error("it is too large: put it into a repository");
        const bytes = await file.arrayBuffer();
        this.#put(file.webkitRelativePath || file.name, new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
      } catch (error) {
        this.fault.textContent = `${file.name}: ${error instanceof TypeError ? "it is not UTF-8 text: put it into a repository" : error.message}`;
      }
    }
    this.chooser.value = "";
  }

  #addPasted() {
    this.path.required = true;
    const isNamed = this.path.reportValidity();
    this.path.required = false;
    if (!isNamed) return;
    this.#put(this.path.value, this.content.value);
    this.path.value = this.content.value = "";
  }

  #put(path, text) {
    this.#kept[this.use.value].set(path, text);
    this.#draw(this.use.value);
  }

  #draw(use) {
    const kept = this.#kept[use];
    const remove = (path) => () => { kept.delete(path); this.#draw(use); this.chooser.focus(); };
    this.#listed[use].replaceChildren(...[...kept].map(([path, text]) => el("li", {}, use === "patches" ? "patch of " : "", visible(path), ` (${text.length} characters) `,
      el("button", { type: "button", class: "small", "aria-label": `Remove ${path}`, onclick: remove(path) }, "Remove"))));
  }
}
