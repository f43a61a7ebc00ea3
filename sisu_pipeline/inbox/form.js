// A form from the JSON Schema of an object: a field per property; other types are entered as JSON.

import { el, labelled } from "./dom.js";

export function formOf({ schema, fields: names }) {
  const required = new Set(schema.required || []);
  const fields = names.map((name) => {
    const property = schema.properties[name];
    const read = field(property, required.has(name));
    const text = `${property.title || name}${required.has(name) ? "" : " (optional)"}`;
    return { name, read: read.read, node: labelled(text, read.node, property.description) };
  });
  if (!fields.length) {
    const raw = el("textarea", { class: "code", value: "{}" });
    return { nodes: [labelled("Answer (JSON)", raw)], read: () => JSON.parse(raw.value) };
  }
  return {
    nodes: fields.map((each) => each.node),
    read: () => Object.fromEntries(fields.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined)),
  };
}

function field(property, required) {
  const types = [property.type].flat().filter((type) => type !== "null");
  // What an empty field means: null where the form accepts it and requires a value, else no member at all.
  const nothing = required && [property.type].flat().includes("null") ? null : undefined;
  const needed = required && nothing === undefined;
  if (Array.isArray(property.enum)) return choice(property.enum, property.default, needed, nothing);
  const type = types.length === 1 ? types[0] : "";
  if (type === "boolean") return choice([true, false], property.default, needed, nothing, ["yes", "no"]);
  if (type === "integer" || type === "number") return number(property, type, needed, nothing);
  if (type === "string") return text(property, needed, nothing);
  const value = property.default === undefined ? "" : JSON.stringify(property.default, null, 2);
  const node = el("textarea", { class: "code", required: needed, placeholder: "JSON", value });
  return { node, read: () => (node.value.trim() === "" ? nothing : JSON.parse(node.value)) };
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
function text({ minLength = 0, maxLength = Infinity, default: preset }, required, nothing) {
  const isShort = maxLength <= 100 && !String(preset ?? "").includes("\n");
  const node = el(isShort ? "input" : "textarea", { type: isShort ? "text" : null, required, value: preset ?? "", oninput: check });
  function check() {
    const length = [...node.value].length;
    const fits = node.value === "" || (length >= minLength && length <= maxLength);
    node.setCustomValidity(fits ? "" : `Enter ${minLength} to ${maxLength} characters (now ${length}).`);
  }
  return { node, read: () => (node.value === "" && !(required && nothing === undefined) ? nothing : node.value) };
}
