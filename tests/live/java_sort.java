// SPDX-License-Identifier: MIT
// Sorts strings and numbers in several threads, with enough garbage for the collector to move what
// lives; prints a digest of the results.

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;

class Sort {
	private static final int THREADS = 2;

	private static long digest(long sum, long value) {
		return sum * 1000003 + value;
	}

	private static long sortNumbers(long seed, int count) {
		long[] numbers = new Random(seed).longs(count).toArray();
		long sum = 0;

		Arrays.parallelSort(numbers);
		for (int i = 1; i < count; i++) {
			if (numbers[i - 1] > numbers[i])
				throw new IllegalStateException("numbers are not sorted");
		}
		for (long number : numbers)
			sum = digest(sum, number);
		return sum;
	}

	private static long sortStrings(long seed, int count) {
		Random random = new Random(seed);
		List<String> strings = new ArrayList<>();
		long sum = 0;

		for (int i = 0; i < count; i++)
			strings.add(Long.toString(random.nextLong(), 36) + i);
		Collections.sort(strings);
		for (int i = 1; i < count; i++) {
			if (strings.get(i - 1).compareTo(strings.get(i)) > 0)
				throw new IllegalStateException("strings are not sorted");
		}
		for (String string : strings)
			sum = digest(sum, string.hashCode());
		return sum;
	}

	public static void main(String[] args) throws InterruptedException {
		int rounds = Integer.parseInt(args[0]);
		int count = Integer.parseInt(args[1]);
		long[] sums = new long[THREADS];
		Thread[] threads = new Thread[THREADS];

		for (int t = 0; t < THREADS; t++) {
			int number = t;

			threads[t] = new Thread(() -> {
				for (int r = 0; r < rounds; r++) {
					long seed = number * 1000L + r;

					sums[number] =
						digest(sums[number], sortNumbers(seed, count));
					sums[number] = digest(sums[number],
						sortStrings(seed, count / 4));
				}
			});
			threads[t].start();
		}
		for (int t = 0; t < THREADS; t++) {
			threads[t].join();
			System.out.println("thread " + t + " " + sums[t]);
		}
	}
}
