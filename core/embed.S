/* SPDX-License-Identifier: MIT
 * The runner's program, as bytes in the library, and the beginning of their SHA-256. RUNNER and RUNNER_ID are set
 * by the Makefile. */
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
	.section .note.GNU-stack, "", %progbits
