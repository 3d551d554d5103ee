// SPDX-License-Identifier: MIT
// Builds, writes and reads JSON documents, in the main thread and in a worker; prints digests.
'use strict';

const crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function* numbers(seed) {
	let state = seed;

	for (;;) {
		state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
		yield state;
	}
}

function build(random, count) {
	const rows = [];

	for (let i = 0; i < count; i++) {
		const value = random.next().value;

		rows.push({
			id: i,
			name: `row-${value.toString(36)}`,
			scores: Array.from({ length: 8 }, () => random.next().value / 7),
			tags: {
				even: value % 2 === 0, text: 'x'.repeat(value % 50), nothing: null,
			},
		});
	}
	return rows;
}

function job(seed, rounds, count) {
	const random = numbers(seed);
	const hash = crypto.createHash('sha256');

	for (let round = 0; round < rounds; round++) {
		const text = JSON.stringify(build(random, count));
		const rows = JSON.parse(text);

		rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
		if (JSON.stringify(JSON.parse(JSON.stringify(rows))) !== JSON.stringify(rows))
			throw new Error('a document changed on its way through JSON');
		hash.update(text).update(JSON.stringify(rows));
	}
	return hash.digest('hex');
}

if (isMainThread) {
	const rounds = Number(process.argv[2]);
	const count = Number(process.argv[3]);
	const worker = new Worker(__filename, { workerData: { rounds, count } });

	worker.on('message', (digest) => console.log(`worker ${digest}`));
	worker.on('error', (error) => { throw error; });
	worker.on('exit', () => console.log(`main ${job(1, rounds, count)}`));
	job(3, 1, count);
} else {
	parentPort.postMessage(job(2, workerData.rounds, workerData.count));
}
