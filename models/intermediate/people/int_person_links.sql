{# Pairs of identifiers that something says are one person, beside what comes in one event: people who are merged by an
   alias call. #}
{{ config(materialized='view') }}

with

merge_requests as (

    select * from {{ ref('int_person_merges') }}

),

final as (

    select
        kept_identifier as identifier_a,
        merged_identifier as identifier_b
    from merge_requests

)

select * from final
