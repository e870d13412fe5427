// SPDX-License-Identifier: Apache-2.0
// Checks CloudFormation templates with AWS's own validator: its resource schemas and rules are part of the package, and
// nothing is fetched. A warning or an error ends with status 1.
'use strict';

const path = require('path');
const { RegoEngine, SchemaValidator, TemplateFile, version } = require('@aws/cloudformation-validate');

// Each with the reason why the rule is not ours. A rule that no template breaks any more is reported.
const NOT_OURS = {
	'W1001 network.yaml/EgressAddresses': 'the third zone stands in the branch of an Fn::If on its own condition',
	'W1001 network.yaml/PrivateSubnets': 'the same',
	'W1001 network.yaml/DataSubnets': 'the same',
};

function findings(engine, file) {
	const report = engine.validateStandard(new TemplateFile(file), { severityLevel: 'WARN' });
	if (report.status !== 'OK') {
		throw new Error(`${file}: the check is ${report.status}`);
	}
	return report.diagnostics;
}

function main(files) {
	if (files.length === 0) {
		console.error('usage: lint.js TEMPLATE...');
		return 64;
	}
	const engine = new RegoEngine();
	const schemas = new SchemaValidator();
	const used = new Set();
	let bad = 0;
	for (const file of files) {
		for (const d of findings(engine, file)) {
			const name = path.basename(file);
			const key = [d.ruleId, `${d.ruleId} ${name}/${d.entity ? d.entity.logicalId : ''}`].find((k) => k in NOT_OURS);
			if (key) {
				used.add(key);
			} else {
				bad += 1;
				console.log(`${file}:${d.startLine || 0}: ${d.severity} ${d.ruleId} ` +
					`${d.entity ? d.entity.logicalId + ': ' : ''}${d.message}${d.propertyPath ? ` (${d.propertyPath})` : ''}`);
			}
		}
	}
	for (const key of Object.keys(NOT_OURS)) {
		if (files.length > 1 && !used.has(key)) {
			bad += 1;
			console.log(`lint.js: nothing breaks ${key} any more: take it out`);
		}
	}
	if (bad === 0) {
		console.log(`${files.length} templates, ${schemas.schemaCount()} schemas, ${engine.listRules().length} rules, ` +
			`cloudformation-validate ${version()}: ok`);
	}
	schemas.free();
	engine.free();
	return bad === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
