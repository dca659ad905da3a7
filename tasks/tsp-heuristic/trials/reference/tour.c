/* Nearest neighbour; 2-opt over neighbour lists with a queue of places to look at; then local kicks until time is up. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NEAR 10

static int n;
static double *x, *y;
static int *tour, *place, *near;
static int *queue, head, count;
static char *queued;

static double distance(int a, int b)
{
    double dx = x[a] - x[b], dy = y[a] - y[b];
    return sqrt(dx * dx + dy * dy);
}

static int from_city;
static int compare(const void *a, const void *b)
{
    double d = distance(from_city, *(const int *)a) - distance(from_city, *(const int *)b);
    return (d > 0) - (d < 0);
}

static void neighbours(void)
{
    int side = (int)sqrt(n / 3.0) + 1, *first = malloc(side * side * sizeof *first), *next = malloc(n * sizeof *next);
    int *found = malloc(n * sizeof *found);
    for (int k = 0; k < side * side; k++)
        first[k] = -1;
    for (int k = 0; k < n; k++) {
        int cell = (int)(x[k] * side) * side + (int)(y[k] * side);
        next[k] = first[cell];
        first[cell] = k;
    }
    for (int k = 0; k < n; k++) {
        int cx = (int)(x[k] * side), cy = (int)(y[k] * side), many = 0;
        for (int ring = 1; many < 3 * NEAR && many < n - 1; ring++) {
            many = 0;
            for (int i = cx - ring; i <= cx + ring; i++)
                for (int j = cy - ring; j <= cy + ring; j++)
                    if (i >= 0 && j >= 0 && i < side && j < side)
                        for (int city = first[i * side + j]; city >= 0; city = next[city])
                            if (city != k)
                                found[many++] = city;
        }
        from_city = k;
        qsort(found, many, sizeof *found, compare);
        for (int j = 0; j < NEAR; j++)
            near[k * NEAR + j] = found[j < many ? j : many - 1];
    }
}

static int after(int city) { return tour[place[city] + 1 < n ? place[city] + 1 : 0]; }
static int before(int city) { return tour[place[city] ? place[city] - 1 : n - 1]; }

static void push(int city)
{
    if (!queued[city]) {
        queued[city] = 1;
        queue[(head + count++) % n] = city;
    }
}

static void reverse(int i, int j)
{
    int inside = j - i;
    if (inside < 0)
        inside += n;
    inside++;
    if (2 * inside > n) {
        int t = i;
        i = j + 1 < n ? j + 1 : 0;
        j = t ? t - 1 : n - 1;
        inside = n - inside;
    }
    for (int k = inside / 2; k > 0; k--) {
        int a = tour[i], b = tour[j];
        tour[i] = b, place[b] = i;
        tour[j] = a, place[a] = j;
        i = i + 1 < n ? i + 1 : 0;
        j = j ? j - 1 : n - 1;
    }
}

static int improve(int a)
{
    for (int way = 0; way < 2; way++) {
        int b = way ? before(a) : after(a);
        double ab = distance(a, b);
        for (int k = 0; k < NEAR; k++) {
            int c = near[a * NEAR + k];
            double ac = distance(a, c);
            if (ac >= ab)
                break;
            int d = way ? before(c) : after(c);
            if (ab + distance(c, d) - ac - distance(b, d) > 1e-12) {
                if (way)
                    reverse(place[a], place[d]);
                else
                    reverse(place[b], place[c]);
                push(a), push(b), push(c), push(d);
                return 1;
            }
        }
    }
    return 0;
}

static unsigned long long state = 88172645463325252ull;
static int chance(int below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (int)(state % (unsigned)below);
}

static double total(void)
{
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum += distance(tour[k], tour[k + 1 < n ? k + 1 : 0]);
    return sum;
}

static void settle(void)
{
    while (count) {
        int city = queue[head];
        head = head + 1 < n ? head + 1 : 0;
        count--;
        queued[city] = 0;
        while (improve(city))
            ;
    }
}

int main(void)
{
    clock_t start = clock();
    if (scanf("%d", &n) != 1)
        return 1;
    x = malloc(n * sizeof *x), y = malloc(n * sizeof *y);
    tour = malloc(n * sizeof *tour), place = malloc(n * sizeof *place), near = malloc(n * NEAR * sizeof *near);
    queue = malloc(n * sizeof *queue), queued = calloc(n, 1);
    for (int k = 0; k < n; k++)
        if (scanf("%lf %lf", &x[k], &y[k]) != 2)
            return 1;
    neighbours();
    char *seen = calloc(n, 1);
    for (int k = 0, at = 0; k < n; k++) {
        int next = -1;
        tour[k] = at, place[at] = k, seen[at] = 1;
        for (int j = 0; j < NEAR && next < 0; j++)
            if (!seen[near[at * NEAR + j]])
                next = near[at * NEAR + j];
        for (int city = 0; next < 0 || (city < n && seen[next]); city++) {
            if (city == n)
                break;
            if (!seen[city])
                next = city;
        }
        at = next;
    }
    for (int k = 0; k < n; k++)
        push(tour[k]);
    settle();
    /* Kicks: a double bridge of short stretches, kept if the tour is no longer than before. */
    double best = total(), allowed = fmax(0.05, 0.2 * n / 1000) * 0.8;
    int *kept = malloc(n * sizeof *kept), span = n < 50 ? n / 4 : 50;
    memcpy(kept, tour, n * sizeof *kept);
    for (int kicks = 0; n >= 8 && (double)(clock() - start) / CLOCKS_PER_SEC < allowed; kicks++) {
        int i = chance(n), a = 1 + chance(span / 2), b = 1 + chance(span / 2);
        int *cut = malloc((a + b) * sizeof *cut);
        for (int k = 0; k < a + b; k++)
            cut[k] = tour[(i + 1 + k) % n];
        for (int k = 0; k < a + b; k++) {
            int city = cut[(a + k) % (a + b)], at = (i + 1 + k) % n;
            tour[at] = city, place[city] = at;
        }
        push(tour[i]), push(cut[0]), push(cut[a - 1]), push(cut[a % (a + b)]), push(cut[a + b - 1]);
        push(tour[(i + a + b + 1) % n]);
        free(cut);
        settle();
        double found = total();
        if (found < best) {
            best = found;
            memcpy(kept, tour, n * sizeof *kept);
        } else if (found > best) {
            memcpy(tour, kept, n * sizeof *kept);
            for (int k = 0; k < n; k++)
                place[tour[k]] = k;
        }
    }
    for (int k = 0; k < n; k++)
        printf("%d\n", kept[k]);
    return 0;
}
