/* Trivially bad: the cities in the order given. */
#include <stdio.h>

int main(void)
{
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int k = 0; k < n; k++)
        printf("%d\n", k);
    return 0;
}
