// A form from the JSON Schema of an object: a field per property; other types are entered as JSON.

import { el, labelled } from "./dom.js";

export function formOf(schema) {
  const required = new Set(schema.required || []);
  const fields = Object.entries(schema.properties || {}).map(([name, property]) => {
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
  if (Array.isArray(property.enum)) {
    const options = property.enum.map((value, index) => el("option", { value: String(index) }, String(value)));
    const node = el("select", { required }, required ? null : el("option", { value: "" }, "—"), options);
    return { node, read: () => (node.value === "" ? undefined : property.enum[Number(node.value)]) };
  }
  if (property.type === "boolean") {
    const node = el("select", { required }, el("option", { value: "" }, "—"), el("option", { value: "1" }, "yes"), el("option", { value: "0" }, "no"));
    return { node, read: () => (node.value === "" ? undefined : node.value === "1") };
  }
  if (property.type === "integer" || property.type === "number") {
    const node = el("input", {
      type: "number", required, min: property.minimum, max: property.maximum,
      step: property.type === "integer" ? "1" : "any",
    });
    return { node, read: () => (node.value === "" ? undefined : Number(node.value)) };
  }
  if (property.type === "string") {
    const node = el("input", { type: "text", required, minlength: property.minLength, maxlength: property.maxLength });
    return { node, read: () => (node.value === "" && !required ? undefined : node.value) };
  }
  const node = el("textarea", { class: "code", required, placeholder: "JSON" });
  return { node, read: () => (node.value.trim() === "" ? undefined : JSON.parse(node.value)) };
}
