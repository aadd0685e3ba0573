/* SPDX-License-Identifier: MIT
 * The runner's program, as bytes in the library, and the beginning of their SHA-256; the prober's. RUNNER, RUNNER_ID and
 * PROBE are set by the Makefile. */
	.section .rodata
	.balign 16
	.globl csn_runner_start, csn_runner_end, csn_runner_id
	.hidden csn_runner_start, csn_runner_end, csn_runner_id
csn_runner_id:
	.quad RUNNER_ID
	.balign 16
csn_runner_start:
	.incbin RUNNER
csn_runner_end:
	.balign 16
	.globl csn_probe_start, csn_probe_end
	.hidden csn_probe_start, csn_probe_end
csn_probe_start:
	.incbin PROBE
csn_probe_end:
	.section .note.GNU-stack, "", %progbits
