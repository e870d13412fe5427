// SPDX-License-Identifier: Apache-2.0
// Checks a dashboard against Grafana's own types (@grafana/schema, from the sources of Grafana): that of a dashboard with its
// panels, and for each panel those of its kind. Grafana publishes them for TypeScript, so the file is compiled as a literal of
// these types: a member that they do not have, or a value of another kind, is an error. Nothing is fetched.
'use strict';

const fs = require('fs');
const path = require('path');
const ts = require('typescript');

const RAW = path.join(path.dirname(require.resolve('@grafana/schema/package.json')), 'dist', 'esm', 'raw');
const PANELS = path.join(RAW, 'composable');
const OPTIONS = { strict: true, noEmit: true, skipLibCheck: true, types: [], module: ts.ModuleKind.ESNext,
	moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022 };

// An enum of strings takes no string literal, though that is what JSON has: here it is the union of its values.
function enumsAsUnions(text) {
	return text.replace(/(?:export )?declare enum (\w+) \{([^}]*)\}/g, (whole, name, body) => {
		const values = [...body.matchAll(/=\s*("[^"]*")/g)].map((m) => m[1]);
		return values.length > 0 ? `${whole.startsWith("export") ? "export " : ""}type ${name} = ${values.join(' | ')};` : whole;
	});
}

function typesOf(kind) {
	const folder = path.join(PANELS, kind, 'panelcfg', 'x');
	const file = fs.existsSync(folder) && fs.readdirSync(folder).find((f) => f.endsWith('.d.ts'));
	if (!file) {
		throw new Error(`there is no kind of panel ${kind}`);
	}
	const full = path.join(folder, file);
	return { module: full.replace(/\.d\.ts$/, ''), fields: fs.readFileSync(full, 'utf8').includes('interface FieldConfig') };
}

function source(dashboard) {
	const lines = [`import type { Dashboard, Panel, RowPanel } from ${JSON.stringify(path.join(RAW, 'dashboard/x/dashboard_types.gen'))};`];
	const { panels, ...rest } = dashboard;
	lines.push(`export const dashboard: Dashboard = ${JSON.stringify(rest)};`);
	panels.forEach((p, i) => {
		lines.push(`export const p${i}: ${p.type === 'row' ? 'RowPanel' : 'Panel'} = ${JSON.stringify(p)};`);
		if (p.type === 'row') {
			return;
		}
		const types = typesOf(p.type);
		lines.push(`import type * as k${i} from ${JSON.stringify(types.module)};`);
		lines.push(`export const o${i}: k${i}.Options = ${JSON.stringify(p.options)};`);
		if (types.fields) {
			lines.push(`export const f${i}: k${i}.FieldConfig = ${JSON.stringify(p.fieldConfig.defaults.custom)};`);
		}
	});
	return lines.join('\n');
}

function check(file) {
	const name = path.join(RAW, 'checked.ts');
	const text = source(JSON.parse(fs.readFileSync(file, 'utf8')));
	const host = ts.createCompilerHost(OPTIONS);
	const read = host.readFile;
	host.readFile = (f) => (f === name ? text : enumsAsUnions(read(f) ?? ''));
	host.fileExists = (f) => f === name || ts.sys.fileExists(f);
	host.getSourceFile = (f, version) => ts.createSourceFile(f, host.readFile(f), version);
	const program = ts.createProgram([name], OPTIONS, host);
	const found = ts.getPreEmitDiagnostics(program);
	for (const d of found) {
		const line = d.file && d.file.fileName === name ? text.split('\n')[d.file.getLineAndCharacterOfPosition(d.start).line].slice(0, 120) : '';
		console.error(`${file}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')} ${line}`);
	}
	return found.length;
}

function main(files) {
	if (files.length === 0) {
		console.error('usage: dashboard.js DASHBOARD...');
		return 64;
	}
	return files.map(check).some((n) => n > 0) ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
