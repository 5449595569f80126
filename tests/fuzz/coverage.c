/* Tells libFuzzer which blocks of the extension ran: gcc calls `__sanitizer_cov_trace_pc` at each, which only clang's runtime
 * knows how to count. The counters are what clang would have put beside the code (inline 8-bit counters); a block's counter is
 * found by its place in the code, which is the same in each run. Comparisons are traced by libFuzzer itself; those of floating
 * point numbers it does not know. Without libFuzzer the weak functions are not there, or do nothing.
 */

#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define WEAK __attribute__((weak))
#define BLOCKS (1 << 16) /* calls are five bytes long: four bytes of code have one counter, so this is enough for 256 KB */

static uint8_t counters[BLOCKS];
static struct {
    uintptr_t place, is_function;
} places[BLOCKS];

extern void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) WEAK;
extern void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) WEAK;

HIDDEN void
__sanitizer_cov_trace_pc(void)
{
    uintptr_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc;
    uint8_t *counter = &counters[place / 4 % BLOCKS];
    if (*counter < UINT8_MAX)
        (*counter)++;
}

HIDDEN void
__sanitizer_cov_trace_cmpf(float one, float other)
{
}

HIDDEN void
__sanitizer_cov_trace_cmpd(double one, double other)
{
}

__attribute__((constructor)) static void
tell(void)
{
    for (uintptr_t at = 0; at < BLOCKS; at++)
        places[at].place = (uintptr_t)&__sanitizer_cov_trace_pc + 4 * at;
    if (__sanitizer_cov_8bit_counters_init && __sanitizer_cov_pcs_init) {
        __sanitizer_cov_8bit_counters_init(counters, counters + BLOCKS);
        __sanitizer_cov_pcs_init((const uintptr_t *)places, (const uintptr_t *)(places + BLOCKS));
    }
}
