// A form from the JSON Schema of an object: a field per property, lists and objects as groups of fields. What no control can
// enter is entered as JSON.

import { el, labelled } from "./dom.js";

export function formOf({ schema, fields: names }) {
  const fields = membersOf(schema, names, schema.default, "/answer");
  if (!fields.length) {
    const raw = json({ default: {} }, true, undefined);
    return { nodes: [labelled("Answer (JSON)", raw.node)], read: raw.read };
  }
  return { nodes: fields.map((each) => each.node), read: () => valuesOf(fields) };
}

// The controls of an object's members, each with its label, in the order of `names`.
// With a pointer, each control is marked by the JSON Pointer (RFC 6901) of its value.
export function membersOf({ properties, required: all = [] }, names, preset, pointer) {
  return names.map((name) => {
    const isRequired = all.includes(name);
    const property = preset && name in preset ? { ...properties[name], default: preset[name] } : properties[name];
    const title = property.title || name, { description } = property;
    const place = pointer === undefined ? undefined : `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const control = field(property, isRequired, place);
    const text = `${title}${isRequired || property.isNeededInGroup ? "" : " (optional)"}`;
    const node = control.isGroup ? group(text, description, control.node) : labelled(text, control.node, control.hint ? `${description ?? ""} ${control.hint}` : description);
    if (place !== undefined) (control.isGroup ? node : control.node).dataset.pointer = place;
    return { name, read: control.read, control: control.node, node };
  });
}

export const valuesOf = (fields) => Object.fromEntries(fields.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined));

const group = (title, hint, nodes) => el("fieldset", {}, el("legend", {}, title, hint ? el("span", { class: "hint" }, ` ${hint}`) : null), nodes);

function field(property, required, pointer) {
  const types = [property.type].flat().filter((type) => type !== "null");
  // What an empty field means: null where the form accepts it and requires a value, else no member at all.
  const nothing = required && [property.type].flat().includes("null") ? null : undefined;
  const needed = required && nothing === undefined;
  if (Array.isArray(property.enum)) return choice(property.enum, property.default, needed, nothing);
  const type = types.length === 1 ? types[0] : "";
  if (type === "boolean") return choice([true, false], property.default, needed, nothing, ["yes", "no"]);
  if (type === "integer" || type === "number") return number(property, type, needed, nothing);
  if (type === "string") return text(property, needed, nothing);
  if (type === "array" && property.isLines) return lines();
  if (type === "array" && isControl(property.items)) return list(property, needed, nothing, pointer);
  if (type === "object" && needed && isControl(property)) return object(property, pointer);
  if (type === "object" && property.isOptionalGroup && isControl(property)) return optionalObject(property, pointer);
  return json(property, needed, nothing);
}

// Whether fields can enter every value that the schema accepts.
function isControl(schema) {
  if (Array.isArray(schema?.enum)) return true;
  const isSimple = typeof schema?.type === "string" && !["const", "anyOf", "oneOf", "allOf", "not", "prefixItems"].some((keyword) => keyword in schema);
  if (!isSimple || schema.type === "array") return false;
  return schema.type !== "object" || (Object.keys(schema.properties ?? {}).length > 0 && schema.additionalProperties === false);
}

// A group without any value is left out; with one, its required members are required.
function optionalObject(property, pointer) {
  const isNeeded = (name) => Boolean(property.required?.includes(name));
  const members = Object.fromEntries(Object.entries(property.properties).map(([name, member]) => [name, { ...member, isNeededInGroup: isNeeded(name) }]));
  const fields = membersOf({ properties: members }, Object.keys(members), undefined, pointer);
  const needed = fields.filter(({ name }) => isNeeded(name));
  for (const { control } of fields) for (const name of ["input", "change"]) control.addEventListener?.(name, check);
  return { isGroup: true, node: fields.map((each) => each.node), read };

  function check() {
    const isUsed = fields.some(({ control }) => control.value);
    for (const { control } of needed) control.required = isUsed;
  }

  function read() {
    const values = valuesOf(fields);
    return Object.keys(values).length ? values : undefined;
  }
}

function lines() {
  const node = el("textarea", { rows: "3" });
  const read = () => {
    const items = node.value.split("\n").map((item) => item.trim()).filter(Boolean);
    return items.length ? items : undefined;
  };
  return { node, read, hint: "One per line." };
}

function object(property, pointer) {
  const fields = membersOf(property, Object.keys(property.properties), property.default, pointer);
  return { isGroup: true, node: fields.map((each) => each.node), read: () => valuesOf(fields) };
}

// A row of fields per item. Without rows, an optional list without a default is left out.
function list({ items, minItems = 0, maxItems = Infinity, default: preset }, needed, nothing, pointer) {
  const rows = [];
  const place = el("ol", { class: "items" });
  const fault = el("p", { class: "bad", role: "status" });
  const add = el("button", { type: "button", class: "small", onclick: () => append(items.default).focus() }, "Add an item");
  (preset ?? Array.from({ length: needed ? minItems : 0 }, () => items.default)).forEach(append);
  check();
  return { isGroup: true, node: [place, fault, add], read };

  function append(value) {
    const control = field({ ...items, default: value }, true);
    const remove = el("button", { type: "button", class: "small", onclick: drop }, "Remove");
    const row = { read: control.read, remove, node: el("li", {}, el("div", {}, control.node), remove) };
    const first = [control.node].flat()[0];
    row.name = (number) => {
      if (!control.isGroup) first.setAttribute("aria-label", `Item ${number}`);
      remove.setAttribute("aria-label", `Remove item ${number}`);
    };
    rows.push(row);
    place.append(row.node);
    check();
    return first.matches("input, select, textarea") ? first : first.querySelector("input, select, textarea") ?? add;

    function drop() {
      rows.splice(rows.indexOf(row), 1);
      row.node.remove();
      check();
      add.focus();
    }
  }

  function check() {
    rows.forEach((row, index) => {
      row.name(index + 1);
      if (pointer !== undefined) row.node.dataset.pointer = `${pointer}/${index}`;
    });
    add.disabled = rows.length >= maxItems;
    fault.textContent = rows.length < minItems && (needed || rows.length) ? `Add at least ${minItems} item${minItems === 1 ? "" : "s"}.` : "";
  }

  function read() {
    if (!rows.length && !needed && !preset) return nothing;
    if (rows.length < minItems) throw new Error(`A list needs at least ${minItems} item${minItems === 1 ? "" : "s"}.`);
    return rows.map((row) => row.read());
  }
}

function json(property, required, nothing) {
  const value = property.default === undefined ? "" : JSON.stringify(property.default, null, 2);
  const node = el("textarea", { class: "code", required, placeholder: "JSON", value, oninput: check });
  return { node, read: () => (node.value.trim() === "" ? nothing : JSON.parse(node.value)) };

  function check() {
    let isJson = true;
    try {
      if (node.value.trim()) JSON.parse(node.value);
    } catch {
      isJson = false;
    }
    node.setCustomValidity(isJson ? "" : "Enter JSON, for example {\"name\": \"value\"}.");
  }
}

function choice(values, preset, required, nothing, labels) {
  const label = (value, index) => (labels ? labels[index] : typeof value === "string" ? value : JSON.stringify(value));
  const options = values.map((value, index) => el("option", { value: String(index) }, label(value, index)));
  const node = el("select", { required }, el("option", { value: "" }, "—"), options);
  const chosen = values.findIndex((value) => preset !== undefined && JSON.stringify(value) === JSON.stringify(preset));
  if (chosen >= 0) node.value = String(chosen);
  return { node, read: () => (node.value === "" ? nothing : values[Number(node.value)]) };
}

function number(property, type, required, nothing) {
  const node = el("input", {
    type: "number", required, min: property.minimum, max: property.maximum, step: type === "integer" ? "1" : "any",
    value: property.default === undefined || property.default === null ? "" : String(property.default),
  });
  return { node, read: () => (node.value === "" ? nothing : Number(node.value)) };
}

// Lengths count characters as the server does: a browser's own limit counts UTF-16 units, two for an emoji.
function text({ minLength = 0, maxLength = Infinity, default: preset, isLine }, required, nothing) {
  const isShort = (isLine || maxLength <= 100) && !String(preset ?? "").includes("\n");
  const node = el(isShort ? "input" : "textarea", { type: isShort ? "text" : null, required, value: preset ?? "", oninput: check });
  function check() {
    const length = [...node.value].length;
    const fits = node.value === "" || (length >= minLength && length <= maxLength);
    node.setCustomValidity(fits ? "" : `Enter ${minLength} to ${maxLength} characters (now ${length}).`);
  }
  return { node, read: () => (node.value === "" && !(required && nothing === undefined) ? nothing : node.value) };
}
